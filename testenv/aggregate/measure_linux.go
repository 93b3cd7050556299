package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
)

// patience bounds a run: sixteen times what the slower link alone would take.
const patience = 16

// measure moves octets once.
func (c *Cell) measure(ctx context.Context, w way, seed uint64, octets int) (s Sample, err error) {
	lab, err := testenv.NewLab(c.lab(seed))
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	cfg := duel.Config{Lab: lab, Stack: w.stack(), Link: links[0]}
	if w == secondAlone {
		cfg.Link = links[1]
	}
	start := time.Now()
	p, err := duel.Open(ctx, cfg)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	from, to := p.Client, p.Server
	if c.Down {
		from, to = to, from
	}
	most := time.Duration(float64(octets) * 8 / (min(c.Mbps[0], c.Mbps[1]) * 1e6) * patience * float64(time.Second))
	if err := transfer(from, to, octets, time.Now().Add(most)); err != nil {
		return s, err
	}
	took := time.Since(start).Seconds()
	return Sample{Way: w, Rate: float64(octets) * 8 / 1e6 / took, Lost: lab.Lost()}, ctx.Err()
}

// transfer moves octets from one end to the other.
func transfer(from, to net.Conn, octets int, deadline time.Time) error {
	if err := errors.Join(from.SetDeadline(deadline), to.SetDeadline(deadline)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(from, testenv.RandomStream(1), int64(octets))
		sent <- err
	}()
	n, err := io.CopyN(io.Discard, to, int64(octets))
	if err != nil {
		err = fmt.Errorf("%d octets of %d arrived: %w", n, octets, err)
		_ = from.SetDeadline(time.Now()) // ends the writer
	}
	return errors.Join(err, <-sent)
}
