package duel

import (
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/mpnc/mpnc/internal/report"
)

// Save writes a document, whose name ends in .md, and beside it what it was made
// of as .json and its picture as .png, unless that has no rows.
func Save(out, document string, results any, picture *report.DotPlot) error {
	base := strings.TrimSuffix(out, ".md")
	data, err := json.MarshalIndent(results, "", "\t")
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(base+".json", append(data, '\n'), 0o644), os.WriteFile(out, []byte(document), 0o644))
	if len(picture.Rows) == 0 {
		return err
	}
	f, e := os.Create(base + ".png")
	if e != nil {
		return errors.Join(err, e)
	}
	return errors.Join(err, picture.WritePNG(f), f.Close())
}

// Kept says in a table whether a limit was kept.
func Kept(ok bool) string {
	if ok {
		return "yes"
	}
	return "**no**"
}
