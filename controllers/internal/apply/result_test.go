// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"reflect"
	"testing"

	"sluice.dev/sluice/controllers/internal/apply"
)

// TestOutcomesHoldNoObject: outcomes are remembered of every object that is applied, for as long as its owner is there. A manifest in
// each, or what the API server made of it, would be most of the memory.
func TestOutcomesHoldNoObject(t *testing.T) {
	var look func(path string, of reflect.Type)
	look = func(path string, of reflect.Type) {
		switch of.Kind() {
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
		case reflect.Struct:
			for field := range of.Fields() {
				look(path+"."+field.Name, field.Type)
			}
		default:
			t.Errorf("%s is a %s", path, of)
		}
	}
	look("Outcome", reflect.TypeFor[apply.Outcome]())
}
