// SPDX-License-Identifier: Apache-2.0

package artifact

// Fail makes fault decide about each step of what the store writes from now on.
func (s *Store) Fail(fault func(step string) error) { s.disk.fault = fault }
