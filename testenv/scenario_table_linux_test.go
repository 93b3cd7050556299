package testenv

// limits is a party without endpoints.
func limits(accepts, subflows int, eps ...endpoint) party {
	return party{accepts: accepts, subflows: subflows, endpoints: eps}
}

// unset are the limits that a kernel starts with.
func unset(eps ...endpoint) party { return limits(0, 2, eps...) }

func subflowOn(link int) endpoint { return endpoint{link: link, subflow: true} }
func signalOn(link int) endpoint  { return endpoint{link: link, signal: true} }
func bogusOn(link int) endpoint   { return endpoint{link: link, signal: true, bogus: true} }

func (e endpoint) at(port uint16) endpoint { e.port = port; return e }
func (e endpoint) ipv6() endpoint          { e.v6 = true; return e }
func (e endpoint) spare() endpoint         { e.backup = true; return e }
func (e endpoint) mesh() endpoint          { e.fullmesh = true; return e }

// Reasons why counts are not the kernel's.
const (
	atTheSYN     = "A join for which there is no room is refused at its SYN, with RST and MP_TCPRST; Linux answers the SYN and refuses the third packet."
	unprovedGoes = "Of joins beyond the limit that cross, the oldest that has not proved that it knows the keys makes room for the next (RFC 8684, Section 5), " +
		"or, if all have, the SYN is refused: which of the two depends on the order of packets."
)

// firstProved are the counts of two joins at a server of ours that takes one.
var firstProved = all([]count{{atServer, "MPJoinSynRx", 2}, {atServer, "MPJoinAckRx", 1}}, anyRefusal)

const (
	joinsBack = "Our connector takes joins at its announced addresses, on the port of the connection, where a kernel does not listen: so those of the listener " +
		"succeed, too, and how many places they leave to ours is a matter of time."
	prioLost    = "Linux closes the subflow that it has just made a backup, or no longer, and opens another: under load the FIN can go before the MP_PRIO."
	failRepeats = "MP_FAIL and its answer go on pure ACKs, and on more than one of them, since an ACK may be lost; the end that sends an infinite mapping first " +
		"makes the other one plain before it sends its own."
	flushTells    = "We say of every address that it is gone; Linux, when its endpoints are flushed, only closes the subflows that began at them."
	mapped        = "Endpoints and sockets with IPv4-mapped IPv6 addresses are an interface of the kernel's; on the wire, and for us, they are IPv4."
	meshAtRunTime = "A path manager of ours keeps its shape as long as the connection lasts."
)

// lostPaths lose a path in the middle of a transfer, with a kernel at the other
// end.
var lostPaths = []string{"TestHandoverPathLostAndBack"}

// anyRefusal: refusals, in whatever form.
var anyRefusal = []count{{atServer, "MPJoinRejected", anyNumber},
	{atServer, "MPRstTx", anyNumber}, {atClient, "MPRstRx", anyNumber}, {atClient, "MPRstTx", anyNumber}, {atServer, "MPRstRx", anyNumber}}

// scenarios are the kernel's, in the order of its scripts.
var scenarios = []scenario{
	{family: "subflows", name: "no JOIN", server: unset(), client: unset(), want: joins(0, 0, 0)},
	{family: "subflows", name: "single subflow, limited by client",
		server: limits(0, 0), client: limits(0, 0, subflowOn(3)), want: joins(0, 0, 0)},
	{family: "subflows", name: "single subflow, limited by server",
		server: limits(0, 0), client: limits(0, 1, subflowOn(3)), want: all(joins(1, 1, 0), refused(1)),
		byServer: exception{want: all(joins(1, 0, 0), []count{{atServer, "MPJoinRejected", 1}, {atServer, "MPRstTx", 1}}), why: atTheSYN}},
	{family: "subflows", name: "single subflow",
		server: limits(0, 1), client: limits(0, 1, subflowOn(3)), want: joins(1, 1, 1)},
	{family: "subflows", name: "multiple subflows",
		server: limits(0, 2), client: limits(0, 2, subflowOn(3), subflowOn(2)), want: joins(2, 2, 2)},
	{family: "subflows", name: "multiple subflows, limited by server",
		server: limits(0, 1), client: limits(0, 2, subflowOn(3), subflowOn(2)), want: all(joins(2, 2, 1), refused(1)),
		byServer: exception{want: firstProved, why: unprovedGoes}},

	{family: "subflows", name: "single subflow, dev", left: "A path of ours always leaves by the interface that has its address."},

	{family: "subflows_error", name: "no MPC reuse with single endpoint", left: "Ours has no endpoint that could be listed twice: a pair of addresses is one path."},
	{family: "subflows_error", name: "multi subflows, with failing subflow", shownBy: []string{"TestResetAtOnceThenBackoff"}},
	{family: "subflows_error", name: "multi subflows, with subflow timeout", shownBy: []string{"TestOpenWithoutAnswerIsTriedAgain"}},
	{family: "subflows_error", name: "multi subflows, fair usage on close", shownBy: []string{"TestJ17_LimitOfSubflows"}},

	{family: "laminar", name: "without, with one, with several endpoints; with signals; with subflows", left: "Which endpoint of the kernel's list answers an ADD_ADDR; ours answers from every usable address."},

	{family: "signal_address", name: "unused signal address",
		server: unset(signalOn(2)), client: unset(), want: all(joins(0, 0, 0), told(atServer, 1, 1))},
	{family: "signal_address", name: "signal address",
		server: limits(0, 1, signalOn(2)), client: limits(1, 1), want: all(joins(1, 1, 1), told(atServer, 1, 1))},
	{family: "signal_address", name: "subflow and signal",
		server: limits(0, 2, signalOn(2)), client: limits(1, 2, subflowOn(3)), want: all(joins(2, 2, 2), told(atServer, 1, 1))},
	{family: "signal_address", name: "multiple subflows and signal",
		server: limits(0, 3, signalOn(2)), client: limits(1, 3, subflowOn(3), subflowOn(4)), want: all(joins(3, 3, 3), told(atServer, 1, 1))},
	{family: "signal_address", name: "signal addresses",
		server: limits(3, 3, signalOn(2), signalOn(3), signalOn(4)), client: limits(3, 3), want: all(joins(3, 3, 3), told(atServer, 3, 3))},
	{family: "signal_address", name: "signal invalid addresses",
		server: limits(3, 3, bogusOn(2), signalOn(3), bogusOn(4)), client: limits(3, 3), want: all(joins(1, 1, 1), told(atServer, 3, 3))},
	{family: "signal_address", name: "signal addresses race test",
		server:   limits(4, 4, signalOn(1), signalOn(2), signalOn(3), signalOn(4)),
		client:   limits(4, 4, signalOn(1), signalOn(2), signalOn(3), signalOn(4)),
		want:     all(joins(3, 3, 3), told(atServer, 3, 3)),
		byClient: exception{want: all(told(atServer, 3, 3), told(atClient, 3, 3), []count{{atServer, "MPJoinSynRx", some}, {atClient, "MPJoinRejected", anyNumber}}, anyRefusal), why: joinsBack}},

	{family: "link_failure", name: "multiple flows, signal, link failure", shownBy: lostPaths},
	{family: "link_failure", name: "multi flows, signal, bidi, link fail", shownBy: lostPaths},
	{family: "link_failure", name: "backup subflow unused, link failure", shownBy: []string{"TestJ13_BackupIsForNeed", "TestSimHandoverRequests"}},
	{family: "link_failure", name: "backup flow used, multi links fail", shownBy: []string{"TestSimHandoverRequests"}},
	{family: "link_failure", name: "backup flow used, bidi, link failure", shownBy: []string{"TestSimHandoverRequests"}},

	{family: "add_addr_timeout", name: "signal address, ADD_ADDR timeout", box: loseEchoes,
		server: limits(0, 1, signalOn(2)).resending(), client: limits(1, 1), want: all(joins(1, 1, 1), resent(4))},
	{family: "add_addr_timeout", name: "signal address, ADD_ADDR6 timeout", box: loseEchoes, v6: true,
		server: limits(0, 1, signalOn(2).ipv6()).resending(), client: limits(1, 1), want: all(joins(1, 1, 1), resent(4))},
	{family: "add_addr_timeout", name: "signal addresses, ADD_ADDR timeout", box: loseEchoes,
		server: limits(2, 2, signalOn(2), signalOn(3)).resending(), client: limits(2, 2), want: all(joins(2, 2, 2), resent(8))},
	{family: "add_addr_timeout", name: "invalid address, ADD_ADDR timeout", box: loseEchoes,
		server: limits(2, 2, bogusOn(2), signalOn(3)).resending(), client: limits(2, 2), want: all(joins(1, 1, 1), resent(8))},

	{family: "remove", name: "remove single subflow",
		server: limits(0, 1), client: limits(0, 1, subflowOn(3)), during: removing(0, 1),
		want: all(joins(1, 1, 1), removed(atClient, 1, 1))},
	{family: "remove", name: "remove multiple subflows",
		server: limits(0, 2), client: limits(0, 2, subflowOn(2), subflowOn(3)), during: removing(0, 2),
		want: all(joins(2, 2, 2), removed(atClient, 2, 2))},
	{family: "remove", name: "remove single address",
		server: limits(0, 1, signalOn(2)), client: limits(1, 1), during: removing(1, 0),
		want: all(joins(1, 1, 1), told(atServer, 1, 1), removed(atServer, 1, 1))},
	{family: "remove", name: "remove subflow and signal",
		server: limits(0, 2, signalOn(2)), client: limits(1, 2, subflowOn(3)), during: removing(1, 1),
		want: all(joins(2, 2, 2), told(atServer, 1, 1), bothRemoved(1, 1))},
	{family: "remove", name: "remove subflows and signal",
		server: limits(0, 3, signalOn(2)), client: limits(1, 3, subflowOn(3), subflowOn(4)), during: removing(1, 2),
		want: all(joins(3, 3, 3), told(atServer, 1, 1), bothRemoved(1, 2))},
	{family: "remove", name: "remove addresses",
		server: limits(3, 3, signalOn(2).named(250), signalOn(3), signalOn(4)), client: limits(3, 3), during: removing(3, 0),
		want: all(joins(3, 3, 3), told(atServer, 3, 3), removed(atServer, 3, 3))},
	{family: "remove", name: "remove invalid addresses",
		server: limits(3, 3, bogusOn(2), signalOn(3), bogusOn(4)), client: limits(3, 3), during: removing(3, 0),
		want: all(joins(1, 1, 1), told(atServer, 3, 3), removed(atServer, 3, 1))},
	{family: "remove", name: "flush subflows and signal",
		server: limits(0, 3, signalOn(2)), client: limits(1, 3, subflowOn(3), subflowOn(4)), during: flushing,
		want:     all(joins(3, 3, 3), told(atServer, 1, 1), bothRemoved(1, 0)),
		byClient: exception{want: all(joins(3, 3, 3), told(atServer, 1, 1), bothRemoved(1, 2)), why: flushTells}},
	{family: "remove", name: "flush subflows",
		server: limits(3, 3), client: limits(3, 3, subflowOn(2).named(150), subflowOn(3), subflowOn(4)), during: flushing,
		want:     all(joins(3, 3, 3), removed(atClient, 0, 3)),
		byClient: exception{want: all(joins(3, 3, 3), removed(atClient, 3, 3)), why: flushTells}},
	{family: "remove", name: "flush addresses",
		server: limits(3, 3, signalOn(2).named(250), signalOn(3), signalOn(4)), client: limits(3, 3), during: flushing,
		want: all(joins(3, 3, 3), told(atServer, 3, 3), removed(atServer, 3, 3))},
	{family: "remove", name: "flush invalid addresses",
		server: limits(3, 3, bogusOn(2), signalOn(3), bogusOn(4)), client: limits(3, 3), during: flushing,
		want: all(joins(1, 1, 1), told(atServer, 3, 3), removed(atServer, 3, 1))},
	{family: "remove", name: "remove id 0 subflow",
		server: limits(0, 1), client: limits(0, 1, subflowOn(3)),
		during: func(p *play) { p.joined(); p.removeInitial(atClient) },
		want:   all(joins(1, 1, 1), removed(atClient, 1, 1))},
	{family: "remove", name: "remove id 0 address",
		server: limits(0, 1, signalOn(2)), client: limits(1, 1),
		during: func(p *play) { p.joined(); p.removeInitial(atServer) },
		want:   all(joins(1, 1, 1), told(atServer, 1, 1), removed(atServer, 1, 1))},

	{family: "add", name: "add single subflow", server: limits(0, 1), client: limits(0, 1),
		during: func(p *play) { p.add(atClient, subflowOn(3)) }, want: joins(1, 1, 1)},
	{family: "add", name: "add signal address", server: limits(0, 1), client: limits(1, 1),
		during: func(p *play) { p.add(atServer, signalOn(2)) }, want: all(joins(1, 1, 1), told(atServer, 1, 1))},
	{family: "add", name: "add multiple subflows", server: limits(0, 2), client: limits(0, 2),
		during: func(p *play) { p.add(atClient, subflowOn(3)); p.add(atClient, subflowOn(4)) }, want: joins(2, 2, 2)},
	{family: "add", name: "add multiple subflows IPv6", v6: true, server: limits(0, 2), client: limits(0, 2),
		during: func(p *play) { p.add(atClient, subflowOn(3).ipv6()); p.add(atClient, subflowOn(4).ipv6()) }, want: joins(2, 2, 2)},
	{family: "add", name: "add multiple addresses IPv6", v6: true, server: limits(0, 2), client: limits(2, 2),
		during: func(p *play) { p.add(atServer, signalOn(2).ipv6()); p.add(atServer, signalOn(3).ipv6()) },
		want:   all(joins(2, 2, 2), told(atServer, 2, 2))},

	{family: "ipv6", name: "single subflow IPv6", v6: true,
		server: limits(0, 1), client: limits(0, 1, subflowOn(3).ipv6()), want: joins(1, 1, 1)},
	{family: "ipv6", name: "unused signal address IPv6", v6: true,
		server: unset(signalOn(2).ipv6()), client: unset(), want: all(joins(0, 0, 0), told(atServer, 1, 1))},
	{family: "ipv6", name: "single address IPv6", v6: true,
		server: limits(0, 1, signalOn(2).ipv6()), client: limits(1, 1), want: all(joins(1, 1, 1), told(atServer, 1, 1))},
	{family: "ipv6", name: "remove single address IPv6", v6: true,
		server: limits(0, 1, signalOn(2).ipv6()), client: limits(1, 1), during: removing(1, 0),
		want: all(joins(1, 1, 1), told(atServer, 1, 1), removed(atServer, 1, 1))},
	{family: "ipv6", name: "remove subflow and signal IPv6", v6: true,
		server: limits(0, 2, signalOn(2).ipv6()), client: limits(1, 2, subflowOn(3).ipv6()), during: removing(1, 1),
		want: all(joins(2, 2, 2), told(atServer, 1, 1), bothRemoved(1, 1))},

	{family: "v4mapped", name: "single subflow IPv4-mapped", left: mapped},
	{family: "v4mapped", name: "signal address IPv4-mapped", left: mapped},
	{family: "v4mapped", name: "single subflow v4-map-v6", left: mapped},
	{family: "v4mapped", name: "signal address v4-map-v6", left: mapped},
	{family: "v4mapped", name: "single subflow v6-map-v4", left: mapped},
	{family: "v4mapped", name: "signal address v6-map-v4", left: mapped},
	{family: "v4mapped", name: "no JOIN with diff families v4-v6",
		server: limits(0, 1), client: limits(0, 1, subflowOn(2).ipv6()), want: joins(0, 0, 0)},
	{family: "v4mapped", name: "no JOIN with diff families v4-v6-2", left: mapped},
	{family: "v4mapped", name: "no JOIN with diff families v6-v4", v6: true,
		server: limits(0, 1), client: limits(0, 1, subflowOn(3)), want: joins(0, 0, 0)},

	{family: "mixed", name: "IPv4 sockets do not use IPv6 addresses",
		server: limits(0, 1, signalOn(2).ipv6()), client: limits(1, 1), want: joins(0, 0, 0),
		byClient: exception{left: "A connection of ours has no family: it uses addresses of both (mixed: simult IPv4 and IPv6 subflows)."}},
	{family: "mixed", name: "simult IPv4 and IPv6 subflows", v6: true,
		server: limits(0, 1, signalOn(1)), client: limits(1, 1), want: joins(1, 1, 1)},
	{family: "mixed", name: "simult IPv4 and IPv6 subflows, fullmesh 1x1", v6: true,
		server: limits(0, 4, signalOn(1)), client: limits(1, 4, subflowOn(1).ipv6().mesh()), want: joins(1, 1, 1)},
	{family: "mixed", name: "simult IPv4 and IPv6 subflows, fullmesh 2x2", v6: true,
		server: limits(0, 4, signalOn(2), signalOn(2).ipv6()), client: limits(2, 4),
		during: func(p *play) {
			p.await(joins(2, 2, 2))
			p.add(atClient, subflowOn(3).ipv6().mesh())
		},
		want: joins(4, 4, 4)},

	{family: "backup", name: "single subflow, backup",
		server: limits(0, 1), client: limits(0, 1, subflowOn(3).spare()),
		during: func(p *play) { p.joined(); p.prefer(atClient, subflowOn(3)) },
		want:   all(joins(1, 1, 1), priorities(0, 1))},
	{family: "backup", name: "single address, backup",
		server: limits(0, 1, signalOn(2)), client: limits(1, 1),
		during: func(p *play) {
			p.joined()
			p.prefer(atServer, signalOn(2).spare())
			p.prefer(atClient, endpoint{link: 2}.spare())
		},
		want: all(joins(1, 1, 1), told(atServer, 1, 1), priorities(1, 1))},
	{family: "backup", name: "single address with port, backup",
		server: limits(0, 1, signalOn(2).at(10100)), client: limits(1, 1),
		during: func(p *play) {
			p.joined()
			p.prefer(atServer, signalOn(2).at(10100).spare())
			p.prefer(atClient, endpoint{link: 2}.spare())
		},
		want: all(joins(1, 1, 1), told(atServer, 1, 1), priorities(1, 1))},
	{family: "backup", name: "mpc backup",
		server: unset(), client: unset(subflowOn(1).spare()), want: all(joins(0, 0, 0), priorities(0, 1))},
	{family: "backup", name: "mpc backup both sides",
		server: unset(subflowOn(1).spare()), client: unset(subflowOn(1).spare()), want: all(joins(0, 0, 0), priorities(1, 1))},
	{family: "backup", name: "mpc switch to backup",
		server: unset(), client: unset(subflowOn(1)),
		during: func(p *play) { p.prefer(atClient, subflowOn(1).spare()) }, want: all(joins(0, 0, 0), priorities(0, 1))},
	{family: "backup", name: "mpc switch to backup both sides",
		server: unset(subflowOn(1)), client: unset(subflowOn(1)),
		during: func(p *play) { p.prefer(atClient, subflowOn(1).spare()); p.prefer(atServer, subflowOn(1).spare()) },
		want:   all(joins(0, 0, 0), priorities(1, 1))},

	{family: "add_addr_ports", name: "signal address with port",
		server: limits(0, 1, signalOn(2).at(10100)), client: limits(1, 1),
		want: all(joins(1, 1, 1), told(atServer, 1, 1), onPorts(1))},
	{family: "add_addr_ports", name: "subflow and signal with port",
		server: limits(0, 2, signalOn(2).at(10100)), client: limits(1, 2, subflowOn(3)),
		want: all(joins(2, 2, 2), told(atServer, 1, 1), onPorts(1))},
	{family: "add_addr_ports", name: "remove single address with port",
		server: limits(0, 1, signalOn(2).at(10100)), client: limits(1, 1), during: removing(1, 0),
		want: all(joins(1, 1, 1), told(atServer, 1, 1), onPorts(1), removed(atServer, 1, 1))},
	{family: "add_addr_ports", name: "remove subflow and signal with port",
		server: limits(0, 2, signalOn(2).at(10100)), client: limits(1, 2, subflowOn(3)), during: removing(1, 1),
		want: all(joins(2, 2, 2), told(atServer, 1, 1), onPorts(1), bothRemoved(1, 1))},
	{family: "add_addr_ports", name: "flush subflows and signal with port",
		server: limits(0, 3, signalOn(2).at(10100)), client: limits(1, 3, subflowOn(3), subflowOn(4)), during: flushing,
		want:     all(joins(3, 3, 3), told(atServer, 1, 1), onPorts(1), bothRemoved(1, 0)),
		byClient: exception{want: all(joins(3, 3, 3), told(atServer, 1, 1), onPorts(1), bothRemoved(1, 2)), why: flushTells}},
	{family: "add_addr_ports", name: "multiple addresses with port",
		server: limits(2, 2, signalOn(2).at(10100), signalOn(3).at(10100)), client: limits(2, 2),
		want: all(joins(2, 2, 2), told(atServer, 2, 2), onPorts(2))},
	{family: "add_addr_ports", name: "multiple addresses with ports",
		server: limits(2, 2, signalOn(2).at(10100), signalOn(3).at(10101)), client: limits(2, 2),
		want: all(joins(2, 2, 2), told(atServer, 2, 2), onPorts(2))},
	{family: "add_addr_ports", name: "port-based listener must refuse MPC", left: "A port that ours announces has no listener of its own: a SYN with MP_CAPABLE is answered by a reset, as at any port without one."},

	{family: "bind", name: "listener bound to one address: no join on another", shownBy: []string{"TestJ5_JoinOutsideBoundAddress"}},
	{family: "bind", name: "second bound listener; link-local routing; link-local laminar", left: "Link-local addresses are never paths of ours; a listener here is bound to one address or to all."},

	{family: "syncookies", name: "single subflow with syn cookies",
		server: limits(0, 1).cookie(), client: limits(0, 1, subflowOn(3)).cookie(), want: joins(1, 1, 1)},
	{family: "syncookies", name: "multiple subflows with syn cookies",
		server: limits(0, 2).cookie(), client: limits(0, 2, subflowOn(3), subflowOn(2)).cookie(), want: joins(2, 2, 2)},
	{family: "syncookies", name: "subflows limited by server w cookies",
		server: limits(0, 1).cookie(), client: limits(0, 2, subflowOn(3), subflowOn(2)).cookie(),
		want: all([]count{{atServer, "MPJoinSynRx", 2}, {atServer, "MPJoinAckRx", 1}, {atClient, "MPJoinSynAckRx", anyNumber}}, anyRefusal)},
	{family: "syncookies", name: "signal address with syn cookies",
		server: limits(0, 1, signalOn(2)).cookie(), client: limits(1, 1).cookie(), want: all(joins(1, 1, 1), told(atServer, 1, 1))},
	{family: "syncookies", name: "subflow and signal w cookies",
		server: limits(0, 2, signalOn(2)).cookie(), client: limits(1, 2, subflowOn(3)).cookie(), want: all(joins(2, 2, 2), told(atServer, 1, 1))},
	{family: "syncookies", name: "subflows and signal w. cookies",
		server: limits(0, 3, signalOn(2)).cookie(), client: limits(1, 3, subflowOn(3), subflowOn(4)).cookie(),
		want: all(joins(3, 3, 3), told(atServer, 1, 1))},

	{family: "checksum", name: "checksum test 0 0", server: limits(0, 1), client: limits(0, 1), during: checksummed(false), want: unspoilt},
	{family: "checksum", name: "checksum test 1 1", server: limits(0, 1).summing(), client: limits(0, 1).summing(), during: checksummed(true), want: unspoilt},
	{family: "checksum", name: "checksum test 0 1", server: limits(0, 1), client: limits(0, 1).summing(), during: checksummed(true), want: unspoilt},
	{family: "checksum", name: "checksum test 1 0", server: limits(0, 1).summing(), client: limits(0, 1), during: checksummed(true), want: unspoilt},

	{family: "deny_join_id0", name: "single subflow allow join id0 ns1",
		server: limits(1, 1), client: limits(1, 1, subflowOn(3)).denying(), want: joins(1, 1, 1)},
	{family: "deny_join_id0", name: "single subflow allow join id0 ns2",
		server: limits(1, 1).denying(), client: limits(1, 1, subflowOn(3)), want: joins(0, 0, 0)},
	{family: "deny_join_id0", name: "signal address allow join id0 ns1",
		server: limits(1, 1, signalOn(2)), client: limits(1, 1).denying(), want: all(joins(1, 1, 1), told(atServer, 1, 1))},
	{family: "deny_join_id0", name: "signal address allow join id0 ns2",
		server: limits(1, 1, signalOn(2)).denying(), client: limits(1, 1), want: all(joins(1, 1, 1), told(atServer, 1, 1))},
	{family: "deny_join_id0", name: "subflow and address allow join id0 1",
		server: limits(2, 2, signalOn(2)), client: limits(2, 2, subflowOn(3)).denying(), want: joins(2, 2, 2)},
	{family: "deny_join_id0", name: "subflow and address allow join id0 2",
		server: limits(2, 2, signalOn(2)).denying(), client: limits(2, 2, subflowOn(3)), want: joins(1, 1, 1)},
	{family: "deny_join_id0", name: "default limits, server deny join id 0 + signal",
		server: unset(signalOn(2)).denying(), client: unset(subflowOn(3), subflowOn(4)), want: all(joins(2, 2, 2), told(atServer, 1, 1))},

	{family: "fullmesh", name: "fullmesh test 2x1",
		server: limits(0, 4), client: limits(1, 4, subflowOn(2).mesh(), subflowOn(3).mesh()),
		during: func(p *play) { p.await(joins(2, 2, 2)); p.add(atServer, signalOn(2)) },
		want:   all(joins(4, 4, 4), told(atServer, 1, 1))},
	{family: "fullmesh", name: "fullmesh test 1x1",
		server: limits(1, 3, signalOn(2)), client: limits(1, 3),
		during: func(p *play) { p.await(joins(1, 1, 1)); p.add(atClient, subflowOn(3).mesh()) },
		want:   all(joins(3, 3, 3), told(atServer, 1, 1))},
	{family: "fullmesh", name: "fullmesh test 1x2",
		server: limits(2, 5, signalOn(2)), client: limits(1, 5),
		during: func(p *play) {
			p.await(joins(1, 1, 1))
			p.add(atClient, subflowOn(3).mesh())
			p.add(atClient, subflowOn(4).mesh())
		},
		want: all(joins(5, 5, 5), told(atServer, 1, 1))},
	{family: "fullmesh", name: "fullmesh test 1x2, limited",
		server: limits(2, 4, signalOn(2)), client: limits(1, 4),
		during: func(p *play) {
			p.await(joins(1, 1, 1))
			p.add(atClient, subflowOn(3).mesh())
			p.add(atClient, subflowOn(4).mesh())
		},
		want: all(joins(4, 4, 4), told(atServer, 1, 1))},
	{family: "fullmesh", name: "set fullmesh flag test",
		server: limits(4, 4), client: limits(4, 4), byClient: exception{left: meshAtRunTime},
		during: func(p *play) {
			p.add(atClient, subflowOn(3))
			p.await(joins(1, 1, 1))
			p.prefer(atClient, subflowOn(3).mesh())
		},
		want: all(joins(2, 2, 2), removed(atClient, 0, 1))},
	{family: "fullmesh", name: "set nofullmesh flag test",
		server: limits(4, 4), client: limits(4, 4), byClient: exception{left: meshAtRunTime},
		during: func(p *play) {
			p.add(atClient, subflowOn(3).mesh())
			p.await(joins(1, 1, 1))
			p.prefer(atClient, subflowOn(3))
		},
		want: all(joins(2, 2, 2), removed(atClient, 0, 1))},
	{family: "fullmesh", name: "set backup,fullmesh flags test",
		server: limits(4, 4), client: limits(4, 4), byClient: exception{left: meshAtRunTime},
		during: func(p *play) {
			p.add(atClient, subflowOn(3))
			p.await(joins(1, 1, 1))
			p.prefer(atClient, subflowOn(3).mesh().spare())
		},
		want:     all(joins(2, 2, 2), priorities(0, 1), removed(atClient, 0, 1)),
		byServer: exception{want: all(joins(2, 2, 2), removed(atClient, 0, 1)), why: prioLost}},
	{family: "fullmesh", name: "set nobackup,nofullmesh flags test",
		server: limits(4, 4), client: limits(4, 4, subflowOn(2).spare().mesh()), byClient: exception{left: meshAtRunTime},
		during:   func(p *play) { p.await(joins(1, 1, 1)); p.prefer(atClient, subflowOn(2)) },
		want:     all(joins(2, 2, 2), priorities(0, 1), removed(atClient, 0, 1)),
		byServer: exception{want: all(joins(2, 2, 2), removed(atClient, 0, 1)), why: prioLost}},

	{family: "fastclose", name: "fastclose test", server: unset(), client: unset(), ends: true,
		during: func(p *play) { p.abort(atClient) }, want: all(joins(0, 0, 0), fastClosed(atClient))},
	{family: "fastclose", name: "fastclose server test", server: unset(), client: unset(), ends: true,
		during: func(p *play) { p.abort(atServer) }, want: all(joins(0, 0, 0), fastClosed(atServer))},

	{family: "fail", name: "Infinite map", server: limits(0, 0).summing(), client: limits(0, 0).summing(),
		altered: true, box: alterOnce(1), during: (*play).finish, ends: true,
		want: all(joins(0, 0, 0), []count{{atServer, "DataCsumErr", 1}, {atServer, "MPFailTx", 1}, {atClient, "MPFailRx", 1},
			{atClient, "InfiniteMapTx", 1}, {atServer, "InfiniteMapRx", 1}}),
		byServer: exception{want: all(joins(0, 0, 0), afterFailure, []count{{atServer, "DataCsumErr", 1}, {atServer, "MPFailTx", some}, {atClient, "MPFailRx", some}}), why: failRepeats},
		byClient: exception{want: all(joins(0, 0, 0), afterFailure, []count{{atServer, "DataCsumErr", 1}, {atServer, "MPFailTx", some}}), why: failRepeats}},
	{family: "fail", name: "MP_FAIL MP_RST", shownBy: []string{"TestInteropChangedData"}},

	{family: "userspace", name: "userspace pm type prevents add_addr",
		server: limits(0, 2, signalOn(2)).daemon(), client: limits(0, 2), want: all(joins(0, 0, 0), told(atServer, 0, 0))},
	{family: "userspace", name: "userspace pm no echo w/o daemon",
		server: limits(0, 2, signalOn(2)), client: limits(0, 2).daemon(), want: all(joins(0, 0, 0), told(atServer, 1, 0)),
		byServer: exception{want: all(joins(0, 0, 0), []count{{atServer, "EchoAdd", 0}}), why: "We tell the address again, half a second later, then at longer intervals, three times at most; Linux after two minutes."},
		byClient: exception{left: "An ADD_ADDR is always echoed (RFC 8684, Section 3.4.1), whatever the path manager makes of it."}},
	{family: "userspace", name: "userspace pm type rejects join",
		server: limits(1, 1).daemon(), client: limits(1, 1, subflowOn(3)), want: all(joins(1, 1, 0), refused(1)),
		byServer: exception{left: "Joins are refused by limits, and only by those."}},
	{family: "userspace", name: "userspace pm type does not send join",
		server: limits(1, 1), client: limits(1, 1, subflowOn(3)).daemon(), want: joins(0, 0, 0)},
	{family: "userspace", name: "userspace pm type prevents mp_prio",
		server: limits(1, 1).daemon(), client: limits(1, 1, subflowOn(3)), want: all(joins(1, 1, 0), refused(1), priorities(0, 0)),
		byServer: exception{left: "Joins are refused by limits, and only by those."}},
	{family: "userspace", name: "userspace pm type prevents rm_addr",
		server: limits(0, 1).daemon(), client: limits(0, 1, subflowOn(3)).daemon(),
		during:   func(p *play) { p.remove(atClient, 1) },
		byClient: exception{left: "Ours has no list of endpoints to ignore."},
		want:     all(joins(0, 0, 0), removed(atClient, 0, 0))},
	{family: "userspace", name: "userspace pm add & remove address",
		server: limits(0, 2).daemon(), client: limits(1, 1),
		during: func(p *play) {
			p.attendAt(atServer)
			p.announce(atServer, signalOn(2))
			p.await(joins(1, 1, 1), told(atServer, 1, 1))
			p.retract(atServer, signalOn(2))
		},
		want: all(joins(1, 1, 1), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace", name: "userspace pm create destroy subflow",
		server: limits(0, 1), client: limits(0, 1).daemon(),
		during: func(p *play) {
			p.attendAt(atClient)
			p.create(atClient, endpoint{link: 3}, endpoint{link: 1}.at(scenarioPort))
			p.await(joins(1, 1, 1))
			p.retract(atClient, endpoint{link: 3})
			p.await(withdrawn(atClient, 1))
			p.end(atClient)
		},
		want: all(joins(1, 1, 1), withdrawn(atClient, 1))},
	{family: "userspace", name: "userspace pm create id 0 subflow",
		server: limits(0, 1), client: limits(0, 1).daemon(),
		during: func(p *play) {
			p.attendAt(atClient)
			p.create(atClient, endpoint{link: 1}, endpoint{link: 1}.at(scenarioPort))
		},
		byClient: exception{left: "mpnc path add does not add a second path between the same two addresses; the path manager ndiffports does."},
		want:     joins(1, 1, 1)},

	{family: "endpoint", name: "delete and re-add, of identifier 0", left: "About identifiers in the kernel's list of endpoints; the address of the first subflow goes and comes back in TestHandoverPathLostAndBack."},
	{family: "endpoint", name: "implicit EP", left: "About identifiers in the kernel's list of endpoints."},
	{family: "endpoint", name: "delete and re-add", server: limits(0, 2), client: limits(0, 2, subflowOn(2)),
		during: func(p *play) {
			for n := int64(1); n <= 3; n++ {
				p.await(joins(n, n, n))
				p.remove(atClient, 1)
				p.await(removed(atClient, n, n))
				p.add(atClient, subflowOn(2))
			}
		},
		want: all(joins(4, 4, 4), removed(atClient, 3, 3))},
	{family: "endpoint", name: "delete re-add signal", server: limits(0, 2, signalOn(2)), client: limits(3, 3),
		during: func(p *play) {
			for n := int64(1); n <= 2; n++ {
				p.await(joins(n, n, n), told(atServer, n, n))
				p.remove(atServer, 1)
				p.await(removed(atServer, n, n))
				p.add(atServer, signalOn(2))
			}
		},
		want: all(joins(3, 3, 3), told(atServer, 3, 3), removed(atServer, 2, 2))},
	{family: "endpoint", name: "flush re-add", server: limits(0, 2, signalOn(2)), client: limits(2, 2),
		during: func(p *play) {
			p.await(joins(1, 1, 1), told(atServer, 1, 1))
			p.flush(atServer)
			p.await(removed(atServer, 1, 1))
			p.add(atServer, signalOn(2))
		},
		want: all(joins(2, 2, 2), told(atServer, 2, 2), removed(atServer, 1, 1))},

	{family: "userspace_pm", name: "announce and remove, from the client",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: announcing(atClient, endpoint{link: 2}), want: all(joins(0, 0, 0), told(atClient, 1, 1), withdrawn(atClient, 1))},
	{family: "userspace_pm", name: "announce and remove, from the server",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: announcing(atServer, endpoint{link: 2}), want: all(joins(0, 0, 0), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace_pm", name: "announce and remove IPv6, from the client", v6: true,
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: announcing(atClient, endpoint{link: 2}.ipv6()), want: all(joins(0, 0, 0), told(atClient, 1, 1), withdrawn(atClient, 1))},
	{family: "userspace_pm", name: "announce and remove IPv6, from the server", v6: true,
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: announcing(atServer, endpoint{link: 2}.ipv6()), want: all(joins(0, 0, 0), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace_pm", name: "announce with a new port, from the client",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: announcing(atClient, endpoint{link: 2}.at(10200)), want: all(joins(0, 0, 0), told(atClient, 1, 1), withdrawn(atClient, 1))},
	{family: "userspace_pm", name: "announce with a new port, from the server",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: announcing(atServer, endpoint{link: 2}.at(10200)), want: all(joins(0, 0, 0), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace_pm", name: "subflow created and destroyed by the client",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: creating(atClient, endpoint{link: 2}, endpoint{link: 2}), want: all(joinsFrom(atClient, 1), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace_pm", name: "subflow created and destroyed by the client, new port",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: creating(atClient, endpoint{link: 2}, endpoint{link: 2}.at(10200)), want: all(joinsFrom(atClient, 1), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace_pm", name: "subflow IPv6 created and destroyed by the client", v6: true,
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: creating(atClient, endpoint{link: 2}.ipv6(), endpoint{link: 2}.ipv6()), want: all(joinsFrom(atClient, 1), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace_pm", name: "subflow created and destroyed by the server",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: creating(atServer, endpoint{link: 2}, endpoint{link: 2}), want: all(joinsFrom(atServer, 1), told(atClient, 1, 1), withdrawn(atClient, 1))},
	{family: "userspace_pm", name: "subflow created and destroyed by the server, new port",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: creating(atServer, endpoint{link: 2}, endpoint{link: 2}.at(10200)), want: all(joinsFrom(atServer, 1), told(atClient, 1, 1), withdrawn(atClient, 1))},
	{family: "userspace_pm", name: "subflow IPv6 created and destroyed by the server", v6: true,
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: creating(atServer, endpoint{link: 2}.ipv6(), endpoint{link: 2}.ipv6()), want: all(joinsFrom(atServer, 1), told(atClient, 1, 1), withdrawn(atClient, 1))},
	{family: "userspace_pm", name: "subflows v4 and v6 mix", v6: true,
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: creating(atClient, endpoint{link: 2}, endpoint{link: 2}), want: all(joinsFrom(atClient, 1), told(atServer, 1, 1), withdrawn(atServer, 1))},
	{family: "userspace_pm", name: "MP_PRIO from the client",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: func(p *play) { p.attend(); p.spare(atClient) }, want: all(joins(0, 0, 0), priorities(0, 1))},
	{family: "userspace_pm", name: "MP_PRIO from the server",
		server: limits(0, 1).daemon(), client: limits(0, 1).daemon(),
		during: func(p *play) { p.attend(); p.spare(atServer) }, want: all(joins(0, 0, 0), priorities(1, 0))},
	{family: "userspace_pm", name: "invalid tokens and identifiers", left: "What the kernel's netlink interface refuses is not seen by a peer."},
	{family: "userspace_pm", name: "listener events", left: "The kernel's own; ours: TestLabPathAndMonitor."},

	{family: "mptcp_connect", name: "MPTCP to MPTCP, IPv4 and IPv6", shownBy: []string{"TestInteropTransfer"}},
	{family: "mptcp_connect", name: "MPTCP to TCP, TCP to MPTCP", shownBy: []string{"TestInteropFallback"}},
	{family: "mptcp_connect", name: "loopback", shownBy: []string{"TestRawSameHost", "TestLabLoopback"}},
	{family: "mptcp_connect", name: "loss, delay and reordering", shownBy: []string{"TestSimulations", "TestInteropSwitches"}},
	{family: "mptcp_connect", name: "syncookies", shownBy: []string{"TestH26_T34_KernelTakesCookies"}},
	{family: "mptcp_connect", name: "checksums", shownBy: []string{"TestInteropChecksum"}},
	{family: "mptcp_connect", name: "MPTFO", shownBy: []string{"TestT35_O2_KernelFastOpen"}},
	{family: "mptcp_connect", name: "peek modes", left: "Programs use our stack as a net.Conn, which has no MSG_PEEK."},
	{family: "mptcp_connect", name: "mmap, sendfile", left: "Ways to hand data to a kernel's socket; nothing of them is on the wire."},
	{family: "mptcp_connect", name: "tproxy", left: "Our listeners take packets for this host's addresses only."},
	{family: "mptcp_connect", name: "full disconnect", left: "A net.Conn is one connection; the next one is another."},

	{family: "simult_flows", name: "unbalanced bandwidths and delays, both directions", shownBy: []string{"TestInteropTransfer", "TestGoodput"}},

	{family: "diag", name: "counts of sockets, tokens, fallback", shownBy: []string{"TestLabSS"}},
	{family: "mptcp_sockopt", name: "MPTCP_INFO and its like", left: "Socket options of the kernel; ours is Conn.Info, and mpnc ss."},
	{family: "pm_netlink", name: "the endpoint interface", left: "The interface of the kernel's path manager, not seen by a peer."},
}
