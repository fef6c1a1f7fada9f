// SPDX-License-Identifier: Apache-2.0

package expression_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/controllers/internal/expression"
)

// object is an object as it is decoded from JSON.
func object() map[string]any {
	return map[string]any{
		"apiVersion": "example.com/v1", "kind": "Thing",
		"metadata": map[string]any{"name": "t", "generation": int64(2), "labels": map[string]any{"a.b/c": "d"}},
		"type":     "kubernetes.io/tls",
		"data":     map[string]any{"password": "aHVudGVyMg==", "long": strings.Repeat("x", 100_000)},
		"status": map[string]any{
			"phase": "Ready", "replicas": int64(3), "load": 0.5, "ok": true,
			"conditions": []any{
				map[string]any{"type": "Ready", "status": "True", "observedGeneration": int64(2)},
				map[string]any{"type": "Synced", "status": "False"},
			},
		},
	}
}

func TestFieldsOfAnObject(t *testing.T) {
	tests := map[string]struct {
		text    string
		want    bool
		compile string // what an error of Compile says
		fails   string // what Explain says of an error of Evaluate
	}{
		"a field":                                 {text: "status.phase == 'Ready'", want: true},
		"a condition":                             {text: "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')", want: true},
		"a condition that does not hold":          {text: "status.conditions.exists(e, e.type == 'Synced' && e.status == 'True')"},
		"numbers":                                 {text: "status.replicas >= 3 && status.load < 1.0 && metadata.generation == status.conditions[0].observedGeneration", want: true},
		"whether a field is there":                {text: "has(status.phase) && !has(status.nothing)", want: true},
		"an optional field":                       {text: "status.?nothing.?deeper.orValue('none') == 'none'", want: true},
		"a field by its key":                      {text: "metadata.labels['a.b/c'] == 'd'", want: true},
		"strings":                                 {text: "status.phase.lowerAscii().startsWith('re') && 'a-b'.replace('-', '_') == 'a_b' && ['a', 'b'].join(',') == 'a,b'", want: true},
		"sets":                                    {text: "sets.contains(status.conditions.map(c, c.type), ['Ready'])", want: true},
		"encoders":                                {text: "string(base64.decode(data.password)) == 'hunter2'", want: true},
		"a field of the object is a boolean":      {text: "status.ok", want: true},
		"a name that is also a type of CEL":       {text: "type(status.phase) == string", want: true},
		"a top-level field that is not there":     {text: "spec.nothing == 1", fails: "no such attribute"},
		"a field that is not there":               {text: "status.nothing == 1", fails: "no such key: nothing"},
		"a top-level field behind a question":     {text: "spec.?nothing.orValue(1) == 1", fails: "no such attribute"},
		"a result that is no boolean":             {text: "status.phase", fails: "gives string, not a boolean"},
		"a value that cannot be converted":        {text: "int(data.password) == 1", fails: "values are not shown"},
		"a text that is none":                     {text: "status.", compile: "Syntax error"},
		"a function that does not exist":          {text: "status.phase.frobnicate()", compile: "undeclared reference to 'frobnicate'"},
		"a type that is certainly none":           {text: "'yes'", compile: "not a boolean"},
		"types that never match":                  {text: "status.phase == 'a' && 1", compile: "expected type 'bool'"},
		"nothing":                                 {text: "", compile: "Syntax error"},
		"a text without end":                      {text: "'" + strings.Repeat("x", 5_000) + "' == 'y'", compile: "size"},
		"nested without end":                      {text: "status.a in " + strings.Repeat("[", 60) + strings.Repeat("]", 60), compile: "recursion limit"},
		"work without end":                        {text: tenfold(7) + ".size() > 0", fails: "operation cancelled: actual cost limit exceeded"},
		"a replacement that fills the memory":     {text: "data.long.replace('', data.long) == ''", fails: "too large for replace"},
		"a replacement in small steps":            {text: "'xxxxxxxx'" + strings.Repeat(".replace('x', 'xxxxxxxx')", 12) + " == ''", fails: "too large for replace"},
		"a list joined with itself":               {text: "[data.long, data.long].join(data.long) == ''", fails: "too large for join"},
		"a text formatted":                        {text: "'%s'.format([data.long]) == ''", fails: "too large for format"},
		"a list of itself, compared":              {text: "[[1]]" + doubled(40) + " == [[1]]" + doubled(40), fails: "too large for _==_"},
		"a list of itself, looked for in another": {text: "[[1]]" + doubled(40) + " in [[[1]]" + doubled(40) + "]", fails: "too large for @in"},
		"a list of itself, as a set":              {text: "sets.contains([[1]]" + doubled(40) + ", [[1]]" + doubled(40) + ")", fails: "too large for sets.contains"},
		"large values may be compared":            {text: "data.long == data.long && data == data", want: true},
		"and looked for, but not time and again": {
			text:  "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(i, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(j, data == data))",
			fails: "operation cancelled: actual cost limit exceeded",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			defer func() {
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %s", took)
				}
			}()
			e, err := expression.CompileFields(tc.text)
			if tc.compile != "" || err != nil {
				if tc.compile == "" || err == nil || !strings.Contains(err.Error(), tc.compile) {
					t.Errorf("compiling gives %v, want %q", err, tc.compile)
				}
				return
			}
			got, err := e.Evaluate(object())
			if tc.fails != "" || err != nil {
				if tc.fails == "" || err == nil || !strings.Contains(expression.Explain(err), tc.fails) {
					t.Errorf("evaluating gives %v (%v), want %q", got, err, tc.fails)
				}
				if err != nil && strings.Contains(expression.Explain(err), "aHVudGVyMg") {
					t.Errorf("a value is shown: %s", expression.Explain(err))
				}
				return
			}
			if got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// tenfold nests comprehensions, each over ten numbers.
func tenfold(depth int) string {
	inner := "0"
	for range depth {
		inner = "[1,2,3,4,5,6,7,8,9,10].map(x, " + inner + ")"
	}
	return inner
}

// doubled makes of a list one that holds it twice, time and again: small to make, endless to walk through.
func doubled(times int) string { return strings.Repeat(".map(x, [x, x])", times) }

func TestNamedVariables(t *testing.T) {
	e, err := expression.Compile("self.a == dep.b", "self", "dep")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := e.Evaluate(map[string]any{"self": map[string]any{"a": "x"}, "dep": map[string]any{"b": "x"}}); !ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
	if _, err := expression.Compile("other.a == 1", "self", "dep"); err == nil || !strings.Contains(err.Error(), "undeclared reference") {
		t.Errorf("a variable that is none gives %v", err)
	}
	if _, err := expression.Compile("'yes'"); !errors.Is(err, expression.ErrNotBoolean) {
		t.Errorf("a text gives %v", err)
	}
}
