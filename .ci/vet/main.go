// Vet runs what go vet runs, for the system that GOOS names, and reads what the
// packages import from source. So nothing is compiled for that system.
package main

import (
	"golang.org/x/tools/go/analysis/multichecker"
	"golang.org/x/tools/go/analysis/suite/vet"
)

func main() { multichecker.Main(vet.Suite...) }
