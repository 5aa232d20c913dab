package check

import "fmt"

// What stands in the lines to try by hand.
const (
	keyA = "UCAAAAAAAAAAAAAAAAAAAAAA"
	keyB = "UCBBBBBBBBBBBBBBBBBBBBBB"
	keyC = "UCCCCCCCCCCCCCCCCCCCCCCC"
	// A trace of which one knows the id.
	withTrace = "-H 'traceparent: 00-11111111111111111111111111111111-2222222222222222-01'"

	count = "curl -s http://127.0.0.1:3780/script"
)

func setScript(json string) string {
	return "curl -s -o /dev/null -X PUT -d '" + json + "' http://127.0.0.1:3780/script"
}

func get(key string) string { return "curl -s 'http://127.0.0.1:3779/?channel=" + key + "'" }

// status prints the status that curl, with these flags, gets for a key.
func status(flags, key string) string {
	return "curl -s " + flags + "-o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + key + "'"
}

func getAll(key string, n int) string {
	return fmt.Sprintf("curl -sZ 'http://127.0.0.1:3779/?channel=%s&n=[1-%d]'", key, n)
}
