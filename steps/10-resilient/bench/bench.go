// Package bench measures step 10's cache beside what one would import or write in
// its place. It also measures floors, below which nothing can be quicker: see `go
// run ./scripts bench`.
//
// It is a separate module, outside go.work, because what the peers require
// must not raise what the steps require.
package bench
