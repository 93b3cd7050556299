module github.com/mpnc/mpnc/testenv/speed/peers

go 1.26.3

require (
	github.com/mpnc/mpnc v0.0.0
	github.com/quic-go/quic-go v0.65.0
	golang.org/x/sys v0.49.0
	gvisor.dev/gvisor v0.0.0-20260905035102-160fafc42237
)

require (
	github.com/google/btree v1.1.2 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/exp v0.0.0-20250711185948-6ae5c78190dc // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)

replace github.com/mpnc/mpnc => ../../..
