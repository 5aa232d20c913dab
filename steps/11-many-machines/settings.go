package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"plaque/steps/11-many-machines/fleet"
)

// readPeers reads PEERS, SELF and PEER_SECRET. Without PEERS the Config has none.
// An error names the variable and how to write it.
func readPeers(addr string, getenv func(string) string) (fleet.Config, error) {
	peers, self := getenv("PEERS"), getenv("SELF")
	c := fleet.Config{Self: self, Secret: getenv("PEER_SECRET")}
	if peers == "" && self == "" {
		return c, nil
	}
	open := "" // an address that others can reach
	if host, _, _ := net.SplitHostPort(addr); !loopback(host) {
		open = "ADDR=" + addr
	}
	written := map[string]string{} // each peer as PEERS has it
	for text := range strings.SplitSeq(peers, ",") {
		text = strings.TrimSpace(text)
		u, err := fleet.PeerURL(text)
		if err != nil {
			return c, fmt.Errorf("PEERS: %w", err)
		}
		peer := u.String()
		switch before, twice := written[peer]; {
		case twice && before == text:
			return c, fmt.Errorf("PEERS: %s is there twice", text)
		case twice:
			return c, fmt.Errorf("PEERS: %s is there twice: %s is the same", text, before)
		case !loopback(u.Hostname()):
			open = text
		}
		written[peer] = text
		c.Peers = append(c.Peers, peer)
	}
	slices.Sort(c.Peers)
	u, err := fleet.PeerURL(self)
	switch {
	case self == "" || err == nil && written[u.String()] == "":
		return c, fmt.Errorf("SELF=%q is none of PEERS=%s: say which of them this process is", self, peers)
	case err != nil:
		return c, fmt.Errorf("SELF: %w", err)
	case c.Secret == "" && open != "":
		return c, fmt.Errorf("%s can be reached from other machines: set PEER_SECRET to the same 16 letters or more on every peer, so that a stranger is not taken for one", open)
	}
	c.Self = u.String()
	if err := fleet.CheckSecret(c.Secret); c.Secret != "" && err != nil {
		return c, fmt.Errorf("PEER_SECRET %w", err)
	}
	return c, nil
}

// loopback reports whether only this machine can reach a host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// nameInstance has the peer's spans say which peer made them: all are one service.
// It stands in OTEL_RESOURCE_ATTRIBUTES, where OpenTelemetry looks for it; one that
// is there already counts.
func nameInstance() {
	const variable, key = "OTEL_RESOURCE_ATTRIBUTES", "service.instance.id"
	self, err := fleet.PeerURL(os.Getenv("SELF"))
	attributes := os.Getenv(variable)
	if err != nil || strings.Contains(attributes, key+"=") {
		return // run says what is wrong with SELF
	}
	attributes = strings.TrimPrefix(strings.TrimSuffix(attributes, ",")+","+key+"="+url.PathEscape(nameOf(self.String())), ",")
	_ = os.Setenv(variable, attributes)
}
