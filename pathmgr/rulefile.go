package pathmgr

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// ParseRules reads rules from a text with one on each line:
//
//	path IFACE [backup] [cost=N] [max=SIZE]
//	no-path IFACE
//
// IFACE may be a pattern, see Rule. SIZE is a number of octets, or with k, M, G or
// T a thousand, a million and so on of them. What follows a # is a comment; empty
// lines mean nothing. Errors name the line.
func ParseRules(r io.Reader) (Rules, error) {
	var rules Rules
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		rule, err := parseLine(words)
		if err == nil {
			rules, err = rules.Add(rule)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return rules, nil
}

func parseLine(words []string) (Rule, error) {
	switch key, args := words[0], words[1:]; key {
	case "path":
		if len(args) == 0 {
			return Rule{}, fmt.Errorf("path needs the name of an interface")
		}
		return parseWords(args[0], args[1:])
	case "no-path":
		if len(args) != 1 {
			return Rule{}, fmt.Errorf("no-path needs the name of an interface, and nothing else")
		}
		return NeverRule(args[0])
	default:
		return Rule{}, fmt.Errorf("unknown key %q: only path and no-path are known", key)
	}
}

// ParseRule reads IFACE[:backup][:cost=N][:max=SIZE]; see ParseRules. (The name of
// an alias such as eth0:1 is not that of an interface.)
func ParseRule(text string) (Rule, error) {
	words := strings.Split(text, ":")
	return parseWords(words[0], words[1:])
}

// NeverRule is the rule that keeps paths off the interfaces of a name.
func NeverRule(iface string) (Rule, error) {
	r := Rule{Iface: iface, Never: true}
	return r, r.check()
}

func (r *Rule) check() error {
	if r.Iface == "" {
		return fmt.Errorf("the name of the interface is missing")
	}
	if _, err := path.Match(r.Iface, "x"); err != nil {
		return fmt.Errorf("%q is no pattern of names", r.Iface)
	}
	return nil
}

func parseWords(iface string, words []string) (Rule, error) {
	r := Rule{Iface: iface}
	if err := r.check(); err != nil {
		return r, err
	}
	said := map[string]bool{}
	for _, w := range words {
		key, value, hasValue := strings.Cut(w, "=")
		if said[key] {
			return r, fmt.Errorf("%s is said twice", key)
		}
		said[key] = true
		if err := r.set(key, value, hasValue); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r *Rule) set(key, value string, hasValue bool) (err error) {
	switch {
	case key == "backup" && !hasValue:
		r.Backup = true
	case key == "cost" && hasValue:
		if r.Cost, err = strconv.Atoi(value); err != nil || r.Cost < 0 || r.Cost > maxCost {
			return fmt.Errorf("cost %q is not a number from 0 to %d", value, maxCost)
		}
	case key == "max" && hasValue:
		if r.Max, err = parseOctets(value); err != nil {
			return fmt.Errorf("max %q is not a size such as 500M", value)
		}
	case key == "backup":
		return fmt.Errorf("backup takes no value")
	case key == "cost" || key == "max":
		return fmt.Errorf("%s needs a value: %s=…", key, key)
	default:
		return fmt.Errorf("unknown key %q: backup, cost=N and max=SIZE are known", key)
	}
	return nil
}

const maxCost = 1_000_000

// parseOctets reads a number of octets. Its units are decimal, as those of a
// mobile plan are.
func parseOctets(s string) (uint64, error) {
	digits, unit := s, uint64(1)
	if s != "" {
		if i := strings.IndexByte("kKmMgGtT", s[len(s)-1]); i >= 0 {
			digits = s[:len(s)-1]
			for range i/2 + 1 {
				unit *= 1000
			}
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 || n > (1<<63)/unit {
		return 0, fmt.Errorf("not a size")
	}
	return n * unit, nil
}

// Add appends a rule; the same name must not have two.
func (rs Rules) Add(r Rule) (Rules, error) {
	for i := range rs {
		if rs[i].Iface == r.Iface {
			return rs, fmt.Errorf("there is another rule for %s", r.Iface)
		}
	}
	return append(rs, r), nil
}
