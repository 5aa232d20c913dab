package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

func columns(f *os.File) (int, bool) {
	var info windows.ConsoleScreenBufferInfo
	if err := windows.GetConsoleScreenBufferInfo(windows.Handle(f.Fd()), &info); err != nil { // not a console
		return 0, false
	}
	return int(info.Window.Right-info.Window.Left) + 1, true
}

// escapes asks the console to understand escape codes. One that is too old for
// that refuses.
func escapes(f *os.File) bool {
	var mode uint32
	if err := windows.GetConsoleMode(windows.Handle(f.Fd()), &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(windows.Handle(f.Fd()), mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
