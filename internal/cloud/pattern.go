// SPDX-License-Identifier: Apache-2.0

package cloud

import "regexp"

// pattern is how a name looks that comes from elsewhere, and how long it may be. The length stands apart from the expression, where each
// character that a bound allows is compiled anew: the patterns here took megabytes of every process.
type pattern struct {
	most int
	form *regexp.Regexp
}

// newPattern returns the pattern of texts of at most so many bytes that an expression matches as a whole.
func newPattern(most int, expression string) pattern {
	return pattern{most: most, form: regexp.MustCompile(`^(?:` + expression + `)$`)}
}

func (p pattern) matches(text string) bool { return len(text) <= p.most && p.form.MatchString(text) }

// find returns the parts of a text that match the groups of the expression, after the whole; nil when it does not match.
func (p pattern) find(text string) []string {
	if len(text) > p.most {
		return nil
	}
	return p.form.FindStringSubmatch(text)
}
