// SPDX-License-Identifier: Apache-2.0

// Package parameters reads what the platform grants to each tenant: one versioned YAML file keyed by namespace, given to
// the manager with --policy-parameters. It says which sources, registries, ServiceAccounts, target namespaces and
// ClusterRoles a namespace may use, whose signatures count there, and how strict its workloads have to be.
//
// It refuses, naming the line or the field, everything it does not know: unknown fields, a field given twice, a URL with
// credentials or dot segments, a registry without a host, a profile by another name, a file over MaxFileSize. A
// namespace without an entry gets the zero grant: empty lists, verification required, profile restricted for a tenant.
// An entry, even an empty one, gets the defaults of the file.
//
// Keys and identities come from here and from nowhere else, so that a tenant never chooses whom to trust; so does the leave to
// apply what was not verified at all. Package parameters decides nothing (policy/engine does, with the rules of policy/rules),
// parses no key (internal/verify does) and reads nothing from a cluster.
package parameters
