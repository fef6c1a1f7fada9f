# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: No RBAC escalation
# description: |
#   A tenant's roles grant neither escalate, bind nor impersonate, nor tokens of ServiceAccounts, nor wildcards. Its bindings
#   refer to allowed ClusterRoles only, bind no system users or groups, and no ServiceAccount outside its target namespaces.
# custom:
#   id: sluice-9
#   severity: critical
#   stages: [render]
#   binds: tenants
#   kinds:
#   - rbac.authorization.k8s.io/Role
#   - rbac.authorization.k8s.io/ClusterRole
#   - rbac.authorization.k8s.io/RoleBinding
#   - rbac.authorization.k8s.io/ClusterRoleBinding
#   controls: ["nist-800-53:AC-6(1)", "nist-800-53:AC-6(5)", "nist-800-53:AC-6(10)", sp-800-190:3.3.1, cis-k8s-1.12:5.1.1, cis-k8s-1.12:5.1.3, cis-k8s-1.12:5.1.7, cis-k8s-1.12:5.1.8]
#   remediation: grant single verbs on single resources, and refer to a ClusterRole on the namespace's list clusterRoles in the policy parameters
#   since: 0.1.0
package sluice.rules["sluice-9"]

import data.sluice.subject

roles := {"Role", "ClusterRole"}

bindings := {"RoleBinding", "ClusterRoleBinding"}

rules[i] := rule if {
	input.object.kind in roles
	some i, rule in object.get(input.object, ["rules"], [])
}

deny contains message if {
	some i, rule in rules
	some field in ["verbs", "apiGroups", "resources", "nonResourceURLs"]
	some value in object.get(rule, [field], [])
	contains(value, "*")
	message := sprintf("rules[%d].%s has the wildcard %q", [i, field, value])
}

# Constrained impersonation (KEP-5284) spells its verbs impersonate:<mode> and impersonate-on:<mode>:<verb>.
deny contains message if {
	some i, rule in rules
	some verb in object.get(rule, ["verbs"], [])
	regex.match(`^(?i)(escalate|bind|impersonate([:-].*)?)$`, verb)
	message := sprintf("rules[%d] grants the verb %q", [i, verb])
}

deny contains message if {
	some i, rule in rules
	"serviceaccounts/token" in object.get(rule, ["resources"], [])
	"create" in object.get(rule, ["verbs"], [])
	message := sprintf("rules[%d] grants tokens of ServiceAccounts", [i])
}

deny contains "aggregates other roles" if {
	input.object.kind in roles
	object.get(input.object, ["aggregationRule"], {}) != {}
}

deny contains "binds in the whole cluster" if input.object.kind == "ClusterRoleBinding"

deny contains message if {
	input.object.kind in bindings
	object.get(input.object, ["roleRef", "kind"], "") != "Role"
	name := object.get(input.object, ["roleRef", "name"], "")
	not name in subject.author.clusterRoles
	message := sprintf("refers to ClusterRole %s", [subject.quoted(name)])
}

subjects[i] := bound if {
	input.object.kind in bindings
	some i, bound in object.get(input.object, ["subjects"], [])
}

deny contains message if {
	some i, bound in subjects
	name := object.get(bound, ["name"], "")
	startswith(name, "system:")
	message := sprintf("subjects[%d] is %q", [i, name])
}

deny contains message if {
	some i, bound in subjects
	object.get(bound, ["kind"], "") == "ServiceAccount"
	ns := object.get(bound, ["namespace"], subject.namespace)
	not ns in subject.author.targetNamespaces
	message := sprintf("subjects[%d] is a ServiceAccount in namespace %s", [i, subject.quoted(ns)])
}
