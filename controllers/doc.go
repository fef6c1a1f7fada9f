// SPDX-License-Identifier: Apache-2.0

// Package controllers is the table of Sluice's controllers and the manager that runs a selection of them in one
// process. Each controller is a package of its own below; they never import one another and meet through API objects and
// artifacts. What a controller's loop does with a result is decided in internal/harness.
package controllers
