// SPDX-License-Identifier: Apache-2.0

// Package arch holds the structure of the repository as data, and the test that holds the code to it: which room may
// import which, who alone may import a heavy or dangerous module, which names say nothing. A failing test means that the code
// went through a wall. Change the data only together with docs/architecture.md, and say why in the commit.
package arch
