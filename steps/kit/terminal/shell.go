package terminal

import (
	"regexp"
	"runtime"
	"strings"
)

// Shell writes words as one line to copy. A word with anything in it that a shell
// could take for its own, such as a space or an &, stands in single quotes, as the
// shells of Unix and PowerShell have them. Of a variable, NAME=value, the value alone
// stands there. Control characters are those of Plain: a line that has some can be
// read, and not run.
func Shell(words ...string) string {
	return shell(runtime.GOOS == "windows", words)
}

var (
	unquoted = regexp.MustCompile(`^[A-Za-z0-9_%+:./-][A-Za-z0-9_%+:./=-]*$`)
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

func shell(powershell bool, words []string) string {
	// Quotes do not nest: the one in the middle ends the text, stands, and begins it
	// anew. In PowerShell it stands twice.
	inside := `'\''`
	if powershell {
		inside = `''`
	}
	quoted := make([]string, len(words))
	for i, word := range words {
		name := variable.FindString(word)
		value := Plain(word[len(name):])
		if !unquoted.MatchString(value) {
			value = "'" + strings.ReplaceAll(value, "'", inside) + "'"
		}
		quoted[i] = name + value
	}
	return strings.Join(quoted, " ")
}
