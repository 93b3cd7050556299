package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// needProgram finds a program of this system's. Where namespaces are required,
// so is it.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path = "/usr/sbin/" + name; exec.Command(path, "-V").Run() != nil {
			if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
				t.Fatal("needs ", name, ": ", err)
			}
			t.Skip("needs ", name, ": ", err)
		}
	}
	return path
}

// asMpnc runs a program whose children may be mpnc, with the privileges of the
// test, and returns what it printed.
func asMpnc(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = patience // for those who hold its output
	cmd.Dir, cmd.Env = dir, append(os.Environ(), beMpnc+"=1", "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// mpncFile is a program that is mpnc, whatever its environment.
func mpncFile(t *testing.T, dir string) string {
	t.Helper()
	name, err := commandFile()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "mpnc")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+beMpnc+"=1 exec "+name+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}

// serving starts mpnc -l -k with a program for each connection, with the
// test's own privileges.
func serving(t *testing.T, command string) (port string) {
	t.Helper()
	p := prepare(t, "-v", "-l", "-k", "--max-conns", "10", "--transport", "kernel-tcp", "--sh-exec", command, "127.0.0.1", "0")
	p.SysProcAttr = nil
	return p.begin().says(`listening on .*:(\d+)\n`)[1]
}

// sshServer serves logins with a key of our own; options are for the client.
func sshServer(t *testing.T, dir, mpnc string) (options []string) {
	t.Helper()
	sshd := needProgram(t, "sshd")
	if os.Geteuid() != 0 {
		t.Skip("a login needs root")
	}
	needProgram(t, "ssh")
	os.MkdirAll("/run/sshd", 0o755) // which its service would make
	for _, key := range []string{"host", "user"} {
		asMpnc(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
	}
	config := filepath.Join(dir, "sshd_config")
	text := strings.Join([]string{
		"HostKey " + dir + "/host", "AuthorizedKeysFile " + dir + "/user.pub", "StrictModes no", "PermitRootLogin yes",
		"PasswordAuthentication no", "UsePAM no", "LogLevel ERROR", "Subsystem sftp internal-sftp", "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	port := serving(t, sshd+" -i -e -f "+config)
	return []string{
		"-F", "none", "-i", filepath.Join(dir, "user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=" + dir + "/known", "-o", "LogLevel=ERROR",
		"-o", "ProxyCommand=" + mpnc + " --transport kernel-tcp 127.0.0.1 " + port,
	}
}

func TestPlumbingSSH(t *testing.T) {
	dir := t.TempDir()
	mpnc := mpncFile(t, dir)
	options := sshServer(t, dir, mpnc)
	out := asMpnc(t, dir, "ssh", append(options, "root@there", "echo $((6*7)); wc -c </dev/zero & kill $!; printf done")...)
	if !strings.HasPrefix(out, "42\n") || !strings.HasSuffix(out, "done") {
		t.Errorf("got %q", out)
	}

	// rsync, over that.
	rsync := needProgram(t, "rsync")
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	os.MkdirAll(filepath.Join(from, "sub"), 0o755)
	data := noise(5, 1<<20)
	if err := os.WriteFile(filepath.Join(from, "sub", "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	shell := "ssh"
	for _, o := range options {
		shell += " '" + o + "'"
	}
	asMpnc(t, dir, rsync, "-a", "-e", shell, from+"/", "root@there:"+to+"/")
	if got, err := os.ReadFile(filepath.Join(to, "sub", "file")); !bytes.Equal(got, data) {
		t.Errorf("other octets: %v", err)
	}
}

// ssh takes the socket itself, and leaves mpnc out of it.
func TestPlumbingSSHPassFD(t *testing.T) {
	dir := t.TempDir()
	mpnc := mpncFile(t, dir)
	options := sshServer(t, dir, mpnc)
	last := len(options) - 1
	options[last] = strings.Replace(options[last], mpnc, mpnc+" -F", 1)
	out := asMpnc(t, dir, "ssh", append(options, "-o", "ProxyUseFdpass=yes", "root@there", "echo here")...)
	if out != "here\n" {
		t.Errorf("got %q", out)
	}
}

func TestPlumbingTar(t *testing.T) {
	needProgram(t, "tar")
	dir := scratch(t)
	from := filepath.Join(dir, "from")
	os.MkdirAll(filepath.Join(from, "a", "b"), 0o755)
	data := noise(6, 1<<20)
	if err := os.WriteFile(filepath.Join(from, "a", "b", "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	mpnc := mpncFile(t, dir)
	out := asMpnc(t, dir, "sh", "-ec", `
		mkdir to
		(`+mpnc+` --transport kernel-tcp -v -l -d 127.0.0.1 0 2>log | tar -x -C to; echo received >received) &
		until port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' log 2>/dev/null) && test "$port"; do sleep 0.05; done
		tar -c -C from . | `+mpnc+` --transport kernel-tcp -N 127.0.0.1 "$port"
		wait
		cat received`)
	if got, err := os.ReadFile(filepath.Join(dir, "to", "a", "b", "file")); !bytes.Equal(got, data) || out != "received\n" {
		t.Errorf("other octets: %v; %s", err, out)
	}
}

func TestPlumbingGit(t *testing.T) {
	git := needProgram(t, "git")
	dir := t.TempDir()
	mpnc := mpncFile(t, dir)
	asMpnc(t, dir, "sh", "-ec", `
		git init -q -b main work && cd work
		echo content >file && git add file
		git -c user.name=A -c user.email=a@b commit -q -m first
		cd .. && git clone -q --bare work repo.git`)
	port := serving(t, git+" daemon --inetd --export-all --base-path="+dir)
	proxy := filepath.Join(dir, "proxy")
	script := "#!/bin/sh\nexec " + mpnc + " -N --transport kernel-tcp 127.0.0.1 " + port + "\n" // whatever host it is asked for; git waits for the end that -N passes on
	if err := os.WriteFile(proxy, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	asMpnc(t, dir, git, "-c", "core.gitProxy="+proxy, "clone", "-q", "git://elsewhere.invalid/repo.git", "copy")
	if b, err := os.ReadFile(filepath.Join(dir, "copy", "file")); string(b) != "content\n" {
		t.Errorf("%q, %v", b, err)
	}
}
