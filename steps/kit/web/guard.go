package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ThisMachine lets in requests that a person at this machine made, and keeps other
// sites' pages out: a browser that shows one would ask us in its name. The debug
// pages and the feed's remote control stand behind it.
func ThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if why := refuse(r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse says why a request is not answered, or "".
func refuse(r *http.Request) string {
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
		return "Only this machine is answered here."
	}
	// A name of somebody else's may lead here, too; then the browser takes us
	// for their site, and lets their pages read ours.
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil { // without a port
		host = strings.TrimSuffix(strings.TrimPrefix(r.Host, "["), "]")
	}
	if !Loopback(host) {
		return fmt.Sprintf("Nothing answers as %.100q here. Write 127.0.0.1 or localhost.", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return "Other sites are not answered here."
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site == "" || site == "none" || site == "same-origin":
	case site == "same-site" && r.Header.Get("Sec-Fetch-Mode") == "navigate": // a link on another port of this machine
	default:
		return "Other sites are not answered here. To look at a page, type its address."
	}
	return ""
}

// Loopback reports whether host is localhost or a loopback address.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
