package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mpnc/mpnc/testenv/speed/end"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// nic is the number of the only interface.
const nic tcpip.NICID = 1

// Its buffers begin with one and may grow to the other. Twice or half as much, and
// 6 MiB or 32 MiB from the beginning, were slower.
const (
	firstBuffer = 1 << 20
	mostBuffer  = 8 << 20
)

// netstack is gVisor's, on the first link, as runsc sets it up for the host's
// interfaces: AF_PACKET with virtio-net headers, the host's GSO, CUBIC.
func netstack(j *end.Job) (*end.Transport, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	if err := tune(s); err != nil {
		return nil, err
	}
	link := j.Links[0]
	local := tcpip.AddrFrom4(link.Local.As4())
	ep, err := packetSocket(link.Name, j.Offloads)
	if err != nil {
		return nil, err
	}
	if err := s.CreateNIC(nic, ep); err != nil {
		return nil, errors.New(err.String())
	}
	subnet := tcpip.AddressWithPrefix{Address: local, PrefixLen: 24}
	address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: subnet}
	if err := s.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
		return nil, errors.New(err.String())
	}
	s.SetRouteTable([]tcpip.Route{{Destination: subnet.Subnet(), NIC: nic}})
	return &end.Transport{
		Listen: func(at netip.AddrPort) (net.Listener, error) {
			return gonet.ListenTCP(s, full(at), ipv4.ProtocolNumber)
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := gonet.DialContextTCP(ctx, s, full(to), ipv4.ProtocolNumber)
			if err != nil {
				return nil, err // not a nil *gonet.TCPConn
			}
			return conn, nil
		},
	}, nil
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

// tune switches on what is fast, and CUBIC.
func tune(s *stack.Stack) error {
	sack := tcpip.TCPSACKEnabled(true)
	control := tcpip.CongestionControlOption("cubic")
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: firstBuffer, Max: mostBuffer}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: firstBuffer, Max: mostBuffer}
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &control, &send, &receive, &moderate} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("%T: %v", o, err)
		}
	}
	return nil
}

// packetSocket is the endpoint on an interface whose addresses the kernel has not.
func packetSocket(name string, offloads bool) (stack.LinkEndpoint, error) {
	dev, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	all := int(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00) // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return nil, err
	}
	const buffer = 32 << 20
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: dev.Index}))
	o := fdbased.Options{
		FDs: []int{fd}, MTU: uint32(dev.MTU), EthernetHeader: true,
		Address:            tcpip.LinkAddress(dev.HardwareAddr),
		PacketDispatchMode: fdbased.RecvMMsg,
		RXChecksumOffload:  true,
	}
	if offloads {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
		o.TXChecksumOffload, o.GSOMaxSize = true, header.IPv4MaximumPayloadSize
	} else { // it cuts trains and merges packets itself, and writes with sendmmsg
		o.GVisorGSOEnabled, o.GSOMaxSize, o.GRO = true, stack.GVisorGSOMaxSize, true
	}
	if err != nil {
		return nil, err
	}
	return fdbased.New(&o)
}
