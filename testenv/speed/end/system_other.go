//go:build !linux

package end

// There is no lab to measure in.

func processTime() float64 { return 0 }

func MachineTime() float64 { return 0 }

type memory struct{ heap, resident, peak int64 }

func memoryNow(bool) memory { return memory{} }
