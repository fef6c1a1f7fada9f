// SPDX-License-Identifier: Apache-2.0

// Package folder holds files and folders that belong to one running process.
//
// Ownership is an advisory lock, which the kernel drops however the process ends; so what a killed process left behind
// is told from what a living one uses, without process ids. It refuses to touch a folder whose owner lives.
package folder
