// SPDX-License-Identifier: MPL-2.0

// Command chart draws the JSON rows of internal/cmd/bench as an SVG: for each
// command, the seconds over the number of sessions.
//
// Usage: chart < bench.json > bench.svg
package main

import (
	"encoding/json"
	"fmt"
	"image/color"
	"log"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

type row struct {
	Resource string
	Count    int
	Latency  int64 `json:"latency_ns"`
	Remote   bool
	Apply    measure
	Refresh  measure
	Destroy  measure
}

type measure struct{ Seconds float64 }

func main() {
	var rows []row
	if err := json.NewDecoder(os.Stdin).Decode(&rows); err != nil {
		log.Fatal(err)
	}
	const width, height = 24 * vg.Centimeter, 8 * vg.Centimeter
	image := vgsvg.New(width, height)
	canvas := draw.New(image)
	canvas.SetColor(color.White) // readable on a dark page too
	canvas.Fill(canvas.Rectangle.Path())
	for i, panel := range []struct {
		title string
		value func(row) measure
	}{
		{"apply", func(r row) measure { return r.Apply }},
		{"refresh", func(r row) measure { return r.Refresh }},
		{"destroy", func(r row) measure { return r.Destroy }},
	} {
		p, err := newPlot(panel.title, rows, panel.value)
		if err != nil {
			log.Fatal(err)
		}
		left := width * vg.Length(i) / 3
		p.Draw(draw.Crop(canvas, left+4*vg.Millimeter, left+width/3-width-2*vg.Millimeter, 2*vg.Millimeter, -2*vg.Millimeter))
	}
	if _, err := image.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

var colors = []color.Color{
	color.Gray{Y: 0x80}, color.RGBA{R: 0xd9, G: 0x4f, B: 0x04, A: 0xff}, color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff},
	color.RGBA{R: 0x2e, G: 0x8b, B: 0x57, A: 0xff}, color.RGBA{R: 0x7b, G: 0x3f, B: 0xa0, A: 0xff}, color.RGBA{R: 0xb0, G: 0x8d, B: 0x00, A: 0xff},
}

func newPlot(title string, rows []row, value func(row) measure) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "sessions"
	p.Y.Label.Text = "seconds"
	p.X.Min, p.Y.Min = 0, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = vg.Points(9)
	var counts plot.ConstantTicks
	lines := map[string]plotter.XYs{}
	var names []string
	for _, r := range rows {
		name := r.Resource
		if r.Resource != "terraform_data" && r.Resource != "random_id" { // these call no API
			name = fmt.Sprintf("%s, %d ms", r.Resource, r.Latency/1e6)
		}
		if r.Remote {
			name += ", remote"
		}
		if lines[name] == nil {
			names = append(names, name)
		}
		counts = append(counts, plot.Tick{Value: float64(r.Count), Label: fmt.Sprint(r.Count)})
		lines[name] = append(lines[name], plotter.XY{X: float64(r.Count), Y: value(r).Seconds})
	}
	for i, name := range names {
		line, points, err := plotter.NewLinePoints(lines[name])
		if err != nil {
			return nil, err
		}
		line.Color, points.Color = colors[i%len(colors)], colors[i%len(colors)]
		line.Width, points.Shape = vg.Points(1.5), draw.CircleGlyph{}
		p.Add(line, points)
		if title == "apply" {
			p.Legend.Add(name, line, points)
		}
	}
	p.X.Tick.Marker = counts
	p.X.Max *= 1.1
	p.Y.Max *= 1.35 // room for the legend
	return p, nil
}
