// The exercise of step 11: three machines that answer each other's questions, and
// do not ask any.
//
// Each coalesces what it is asked. Together they load three times what they could
// load once.
//
// Check it, from the workshop's folder, with
//
//	go run ./scripts check --exercise 11
package main

// owner is which of the machines is asked for key. self is the one that wants to
// know; it asks nobody but itself.
func owner(key string, machines []string, self string) string {
	return self
}
