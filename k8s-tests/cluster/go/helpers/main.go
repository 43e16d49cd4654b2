// Command helpers holds the two small programs that the cluster runs in containers: pause, which
// keeps a pod's namespaces open, and volume, which makes and deletes the folder of a volume. It
// runs the one that it is called by.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "pause":
		pause()
	case "volume":
		err = volume(os.Args[1:])
	default:
		err = fmt.Errorf("no program %q; there are pause and volume", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "helpers:", err)
		os.Exit(2)
	}
}

// pause waits for the end, and reaps what a container leaves to it in a shared pid namespace.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for got := range signals {
		if got != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

// volume obeys local-path-provisioner's call: -p PATH -s SIZE -m MODE -a create|delete.
func volume(args []string) error {
	flags := flag.NewFlagSet("volume", flag.ContinueOnError)
	path := flags.String("p", "", "the volume's folder")
	action := flags.String("a", "", "create or delete")
	flags.String("s", "", "the volume's size in bytes: not enforced")
	flags.String("m", "", "the volume's mode: Filesystem")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !filepath.IsAbs(*path) || filepath.Dir(*path) == "/" {
		return fmt.Errorf("-p %q is not a folder below another one", *path)
	}
	switch *action {
	case "create":
		if err := os.Mkdir(*path, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		// Pods run as anybody, and the folder is of this node alone. Mkdir obeys the umask.
		return os.Chmod(*path, 0o777)
	case "delete":
		return os.RemoveAll(*path)
	}
	return fmt.Errorf("-a %q is neither create nor delete", *action)
}
