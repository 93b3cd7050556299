package tracefile

import (
	"os"
	"path/filepath"
	"testing"
)

// Keys are in the traces: nobody else may read them, whatever was at the path.
func TestFilesArePrivate(t *testing.T) {
	for name, create := range map[string]func(path string) (interface{ Close() error }, error){
		"pcap": func(path string) (interface{ Close() error }, error) { return CreatePcap(path, PcapConfig{}) },
		"json": func(path string) (interface{ Close() error }, error) { return CreateJSON(path, JSONConfig{}) },
	} {
		for _, before := range []os.FileMode{0, 0o644, 0o600} {
			path := filepath.Join(t.TempDir(), "trace")
			if before != 0 {
				if err := os.WriteFile(path, make([]byte, 10_000), before); err != nil {
					t.Fatal(err)
				}
			}
			f, err := create(path)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := f.Close(); err != nil {
				t.Fatalf("%s: Close: %v", name, err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != 0o600 || info.Size() == 0 || info.Size() >= 10_000 {
				t.Errorf("%s, mode %o before: mode %o, %d octets", name, before, info.Mode(), info.Size())
			}
		}
	}
}

func TestCreateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "such", "folder")
	if p, err := CreatePcap(path, PcapConfig{}); !os.IsNotExist(err) || p != nil {
		t.Errorf("CreatePcap: %v, %v", p, err)
	}
	if j, err := CreateJSON(path, JSONConfig{}); !os.IsNotExist(err) || j != nil {
		t.Errorf("CreateJSON: %v, %v", j, err)
	}
}

func TestCreateLeavesDevicesAlone(t *testing.T) {
	before, err := os.Stat(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Create(os.DevNull)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	f.Close()
	after, err := os.Stat(os.DevNull)
	if err != nil || after.Mode() != before.Mode() {
		t.Errorf("mode %v became %v (%v)", before.Mode(), after.Mode(), err)
	}
}
