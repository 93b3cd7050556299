// Package testenv has networks to test on: Link, one direction of an emulated
// path, without a clock; the simulator that runs engines over Links in virtual
// time; Lab, which runs real hosts in network namespaces over the same Links;
// and middleboxes that spoil the packets on their way.
package testenv
