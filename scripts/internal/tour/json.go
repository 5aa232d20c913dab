package tour

import (
	"encoding/json"
	"io"

	"plaque/scripts/internal/lab"
)

// JSON prints the whole tour as one document, with the predictions if there are any.
func (t *Tour) JSON(w io.Writer, predictions any) error {
	type act struct {
		Says    string         `json:"says"`
		By      []string       `json:"by_hand,omitempty"`
		TraceID string         `json:"trace_id,omitempty"`
		Answers map[string]int `json:"answers,omitempty"`
		Loads   int            `json:"loads"`
		Spans   map[string]int `json:"spans,omitempty"`
		Checks  []lab.Check    `json:"checks"`
		Notes   []string       `json:"notes,omitempty"`
		Hey     string         `json:"hey,omitempty"`
	}
	type experiment struct {
		Name string `json:"name"`
		True bool   `json:"true"`
		Acts []act  `json:"acts"`
	}
	type step struct {
		Step        string       `json:"step"`
		Claim       string       `json:"claim"`
		True        bool         `json:"true"`
		Seconds     float64      `json:"seconds"`
		Experiments []experiment `json:"experiments"`
	}
	doc := struct {
		True        bool   `json:"true"`
		Steps       []step `json:"steps"`
		Predictions any    `json:"predictions,omitempty"`
	}{True: t.Failed() == 0, Predictions: predictions}
	for _, r := range t.Visits {
		all, held := r.Claims()
		s := step{Step: r.Lesson.Step, Claim: r.Lesson.Claim, True: all == held, Seconds: r.Took.Seconds()}
		for _, x := range r.Results {
			e := experiment{Name: x.Experiment.Name, True: x.True()}
			for _, a := range x.Acts {
				counts := map[string]int{}
				for _, sp := range a.Spans {
					counts[sp.Name]++
				}
				e.Acts = append(e.Acts, act{a.Act.Does(), a.Act.ByHand(r.Lesson, x.Experiment), a.TraceID, a.Answers, a.Loads, counts, a.Checks, a.Notes, a.Hey})
			}
			s.Experiments = append(s.Experiments, e)
		}
		doc.Steps = append(doc.Steps, s)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
