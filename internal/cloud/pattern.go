// SPDX-License-Identifier: Apache-2.0

package cloud

import "regexp"

// pattern is how a name looks that comes from elsewhere, and how long its parts may be. The lengths stand apart from the expression, where
// each character that a bound allows is compiled anew: the patterns here took megabytes of every process.
type pattern struct {
	form *regexp.Regexp
	most []int
}

// newPattern returns the pattern of texts that an expression matches as a whole. What its groups match has at most so many bytes, in
// their order; zero leaves a group to the expression.
func newPattern(expression string, most ...int) pattern {
	return pattern{form: regexp.MustCompile(`^(?:` + expression + `)$`), most: most}
}

func (p pattern) matches(text string) bool { return p.find(text) != nil }

// find returns the parts of a text that match the groups of the expression, after the whole; nil when it does not match.
func (p pattern) find(text string) []string {
	parts := p.form.FindStringSubmatch(text)
	if parts == nil {
		return nil
	}
	for i, most := range p.most {
		if most > 0 && len(parts[i+1]) > most {
			return nil
		}
	}
	return parts
}
