package testenv

import "slices"

// What several scenarios have in common: parties, counts, and what happens.

func (c party) cookie() party    { c.cookies = true; return c }
func (c party) summing() party   { c.checksums = true; return c }
func (c party) denying() party   { c.noJoinFirst = true; return c }
func (c party) daemon() party    { c.userspace = true; return c }
func (c party) resending() party { c.hasty = true; return c }

func (e endpoint) named(id uint8) endpoint { e.id = id; return e }

// resent: ADD_ADDRs that the server has sent, the client heard and answered.
func resent(n int64) []count {
	return []count{{atServer, "AddAddrTx", n}, {atClient, "EchoAddTx", n}, {atClient, "AddAddr", n}, {atServer, "EchoAdd", 0}}
}

// bothRemoved: the server withdrew so many addresses, and the client so many that
// subflows came from.
func bothRemoved(server, client int64) []count {
	return []count{{atClient, "RmAddr", server}, {atServer, "RmAddr", client}}
}

// onPorts: joins to other ports than the connection's.
func onPorts(n int64) []count { return []count{{atServer, "MPJoinPortAckRx", n}} }

// unspoilt: no checksum was wrong.
var unspoilt = all(joins(0, 0, 0), []count{{atServer, "DataCsumErr", 0}, {atClient, "DataCsumErr", 0}})

// fastClosed: one side ended the connection at once.
func fastClosed(by place) []count {
	return []count{{by, "MPFastcloseTx", 1}, {by.other(), "MPFastcloseRx", 1}, {by, "MPRstTx", anyNumber}, {by.other(), "MPRstRx", anyNumber}}
}

// removing takes endpoints away from the two ends, once there are the joins.
func removing(server, client int) func(*play) {
	return func(p *play) {
		p.joined()
		p.remove(atServer, server)
		p.remove(atClient, client)
	}
}

// flushing takes them all away.
func flushing(p *play) {
	p.joined()
	p.flush(atServer)
	p.flush(atClient)
}

// checksummed checks that checksums are used, or not.
func checksummed(want bool) func(*play) {
	return func(p *play) {
		if got := p.conn.Stats().Checksums; got != want {
			p.t.Errorf("checksums are used: %v", got)
		}
	}
}

// loseEchoes loses the echoes of the client.
func loseEchoes(int) Box { return Each(ToServer, loseEcho) }

func loseEcho(pkt []byte) []byte {
	t, ok := viewTCP(pkt)
	if !ok {
		return pkt
	}
	const addAddr = 3
	var kinds []byte
	t.options(func(at, n int) {
		if t.seg[at] == optMPTCP && n > 2 {
			kinds = append(kinds, t.seg[at+2]>>4)
		}
	})
	if slices.Contains(kinds, addAddr) {
		return nil
	}
	return pkt
}

// alterOnce changes one octet that the client sends on a link.
func alterOnce(on int) func(int) Box {
	return func(link int) Box {
		if link != on {
			return nil
		}
		return Each(ToServer, changeOne(30))
	}
}

// afterFailure is what may be repeated, or cross, when both ends become plain.
var afterFailure = func() (any []count) {
	for _, at := range []place{atServer, atClient} {
		for _, name := range []string{"MPFailTx", "MPFailRx", "InfiniteMapTx", "InfiniteMapRx", "DssFallback"} {
			any = append(any, count{at, name, anyNumber})
		}
	}
	return any
}()
