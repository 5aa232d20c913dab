// Package bench measures step 10's cache beside what one would import or write
// in its place, and beside the floors that nothing can be quicker than: see
// `go run ./scripts bench`.
//
// It is a separate module, outside go.work, because what the peers require
// must not raise what the steps require.
package bench
