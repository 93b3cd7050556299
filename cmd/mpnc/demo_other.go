//go:build !linux

package main

// demoWorld says where the demo takes place.
func demoWorld(_ []string, inProcess bool) (makeWorld func() (world, error), where string, ran bool, err error) {
	why := "real network namespaces need Linux"
	if inProcess {
		why = "as asked"
	}
	return newProcessWorld, "in a network inside this process (" + why + ")", false, nil
}
