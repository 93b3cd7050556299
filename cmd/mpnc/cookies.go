package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/mpnc/mpnc/mptcp"
)

// TCP Fast Open needs, as a client, the cookies that servers gave to earlier
// runs. They are in a small file of the user's, which several runs may read and
// write at a time. It is a cache: whatever is wrong with it, there are no cookies,
// and connections take the round trip that they would take without them.

const (
	// mostCookies and mostCookieOctets bound the file. What is larger was not
	// written by us.
	mostCookies      = 256
	mostCookieOctets = 128 << 10
)

// cookieJar is that file. The zero value keeps nothing.
type cookieJar struct {
	file  string
	given []mptcp.FastOpenCookie // what the stack was told of
}

// openCookieJar finds the file: fast-open.json of the program's directory for
// state that is kept.
func openCookieJar() *cookieJar {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil || !filepath.IsAbs(home) {
			return &cookieJar{}
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return &cookieJar{file: filepath.Join(dir, "mpnc", "fast-open.json")}
}

// load returns what earlier runs have kept.
func (j *cookieJar) load() []mptcp.FastOpenCookie {
	j.given = readCookies(j.file)
	return j.given
}

// readCookies returns the cookies of a file, none if it is not one of ours.
func readCookies(file string) (all []mptcp.FastOpenCookie) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, mostCookieOctets+1))
	if err != nil || len(b) > mostCookieOctets || json.Unmarshal(b, &all) != nil {
		return nil
	}
	all = slices.DeleteFunc(all, func(c mptcp.FastOpenCookie) bool {
		return !c.Local.IsValid() || !c.Remote.IsValid() || len(c.Cookie) == 0 || len(c.Cookie) > 16
	})
	return all[max(0, len(all)-mostCookies):]
}

// save keeps what a stack knows now, and what other runs have written meanwhile.
// What the stack was told of and no longer knows was refused, and goes.
func (j *cookieJar) save(known []mptcp.FastOpenCookie) error {
	if j.file == "" || slices.EqualFunc(known, j.given, equalCookies) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(j.file), 0o700); err != nil {
		return err
	}
	unlock, err := lockFile(j.file + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	all := slices.DeleteFunc(readCookies(j.file), func(c mptcp.FastOpenCookie) bool {
		return slices.ContainsFunc(known, samePlace(c)) || slices.ContainsFunc(j.given, func(g mptcp.FastOpenCookie) bool { return equalCookies(g, c) })
	})
	all = append(all, known...)
	return writeCookies(j.file, all[max(0, len(all)-mostCookies):])
}

// writeCookies replaces the file in one step.
func writeCookies(file string, all []mptcp.FastOpenCookie) error {
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".fast-open-*") // for its user only
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// samePlace returns whether a cookie is of the same server, for the same address
// of ours.
func samePlace(c mptcp.FastOpenCookie) func(mptcp.FastOpenCookie) bool {
	return func(o mptcp.FastOpenCookie) bool { return c.Local == o.Local && c.Remote == o.Remote }
}

func equalCookies(a, b mptcp.FastOpenCookie) bool {
	return samePlace(a)(b) && slices.Equal(a.Cookie, b.Cookie) && a.MSS == b.MSS
}
