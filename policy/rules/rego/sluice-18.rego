# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Workloads meet the Pod Security Standard
# description: |
#   Pods, and the pod templates of the built-in workload kinds, meet the profile of the namespace that asks: restricted for
#   a tenant unless the platform chose otherwise, and for a platform namespace whatever profile it names. The controls are
#   those of the Pod Security Standards as of Kubernetes 1.34. Relaxations of later versions, such as those for pods in a
#   user namespace, are not followed: older clusters drop the field that they rest on.
# custom:
#   id: sluice-18
#   severity: high
#   stages: [render]
#   binds: everyone
#   kinds:
#   - Pod
#   - PodTemplate
#   - ReplicationController
#   - apps/Deployment
#   - apps/StatefulSet
#   - apps/DaemonSet
#   - apps/ReplicaSet
#   - batch/Job
#   - batch/CronJob
#   controls: [nist-800-53:CM-6, nist-800-53:AC-6, nist-800-53:SC-39, sp-800-190:3.4.3, cis-k8s-1.12:5.2, cis-k8s-1.12:5.6.2, cis-k8s-1.12:5.6.3, stig:V-254800, stig:V-242414]
#   remediation: set runAsNonRoot, seccompProfile RuntimeDefault, allowPrivilegeEscalation false and capabilities drop ALL, and use nothing of the host
#   since: 0.1.0
package sluice.rules["sluice-18"]

import data.sluice.pods
import data.sluice.subject

profile := subject.author.profile if subject.author.profile != ""

profile := "restricted" if {
	subject.author.profile == ""
	not input.platform
}

deny contains message if {
	profile in {"baseline", "restricted"}
	some message in both
}

deny contains message if {
	profile == "baseline"
	some message in baseline
}

deny contains message if {
	profile == "restricted"
	some message in restricted
}

# The controls of both profiles.

both contains message if {
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	object.get(pods.spec, [field], false) != false
	message := sprintf("pod: %s shares a namespace of the host", [field])
}

both contains message if {
	some at in pods.contexts
	object.get(at.context, ["windowsOptions", "hostProcess"], false) != false
	message := sprintf("%s: windowsOptions.hostProcess is set", [at.label])
}

both contains message if {
	some at in pods.contexts
	object.get(at.context, ["privileged"], false) != false
	message := sprintf("%s: privileged is set", [at.label])
}

both contains message if {
	some at in pods.containers
	some port in object.get(at.container, ["ports"], [])
	object.get(port, ["hostPort"], 0) != 0
	message := sprintf("%s: hostPort %v is taken on the host", [at.label, port.hostPort])
}

handlers := [
	["livenessProbe"],
	["readinessProbe"],
	["startupProbe"],
	["lifecycle", "postStart"],
	["lifecycle", "preStop"],
]

both contains message if {
	some at in pods.containers
	some handler in handlers
	hook := object.get(at.container, handler, unset)
	hook != unset
	some action in ["httpGet", "tcpSocket"]
	host := object.get(hook, [action, "host"], "")
	host != ""
	message := sprintf("%s: %s.%s.host %s makes the node connect elsewhere", [at.label, concat(".", handler), action, subject.quoted(host)])
}

both contains message if {
	some at in pods.contexts
	kind := object.get(at.context, ["appArmorProfile", "type"], unset)
	is_object(object.get(at.context, ["appArmorProfile"], unset))
	not kind in {"RuntimeDefault", "Localhost"}
	message := sprintf("%s: appArmorProfile.type %s", [at.label, shown(kind)])
}

# Before 1.30 the profile was an annotation of the pod, one for each container.
both contains message if {
	some key, value in pods.annotations
	startswith(key, "container.apparmor.security.beta.kubernetes.io/")
	not value in {"", "runtime/default"}
	not startswith(value, "localhost/")
	message := sprintf("pod: annotation %q is %q", [key, value])
}

both contains message if {
	some at in pods.contexts
	kind := object.get(at.context, ["seLinuxOptions", "type"], "")
	not kind in {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
	message := sprintf("%s: seLinuxOptions.type %s", [at.label, subject.quoted(kind)])
}

both contains message if {
	some at in pods.contexts
	some field in ["user", "role"]
	value := object.get(at.context, ["seLinuxOptions", field], "")
	value != ""
	message := sprintf("%s: seLinuxOptions.%s %s", [at.label, field, subject.quoted(value)])
}

both contains message if {
	some at in pods.contexts
	mount := object.get(at.context, ["procMount"], "Default")
	mount != "Default"
	message := sprintf("%s: procMount %s", [at.label, subject.quoted(mount)])
}

safe_sysctls := {
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

both contains message if {
	some sysctl in object.get(pods.context, ["sysctls"], [])
	name := object.get(sysctl, ["name"], "")
	not name in safe_sysctls
	message := sprintf("pod: sysctl %s", [subject.quoted(name)])
}

# The controls of baseline that restricted replaces by stricter ones.

baseline contains message if {
	some i, volume in object.get(pods.spec, ["volumes"], [])
	object.get(volume, ["hostPath"], unset) != unset
	message := sprintf("%s is a hostPath", [volume_name(i, volume)])
}

baseline_capabilities := {
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

baseline contains message if {
	some at in pods.contexts
	some added in object.get(at.context, ["capabilities", "add"], [])
	not added in baseline_capabilities
	message := sprintf("%s: adds capability %s", [at.label, subject.quoted(added)])
}

baseline contains message if {
	some at in pods.contexts
	seccomp(at.context) == "bad"
	message := sprintf("%s: seccompProfile.type is neither RuntimeDefault nor Localhost", [at.label])
}

# The controls of restricted.

plain_volumes := {
	"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
	"image", "persistentVolumeClaim", "projected", "secret",
}

# A volume without a kind is an emptyDir.
restricted contains message if {
	some i, volume in object.get(pods.spec, ["volumes"], [])
	kinds := object.keys(volume) - {"name"}
	not plain(kinds)
	message := sprintf("%s is of kind %s", [volume_name(i, volume), concat(", ", sort(kinds))])
}

plain(kinds) if {
	count(kinds) <= 1
	count(kinds - plain_volumes) == 0
}

restricted contains message if {
	not pods.windows
	some at in pods.containers
	object.get(at.context, ["allowPrivilegeEscalation"], true) != false
	message := sprintf("%s: allowPrivilegeEscalation is not false", [at.label])
}

restricted contains message if {
	pods.context.runAsNonRoot != true
	message := "pod: runAsNonRoot is not true"
}

restricted contains message if {
	some at in pods.containers
	object.get(at.context, ["runAsNonRoot"], object.get(pods.context, ["runAsNonRoot"], false)) != true
	message := sprintf("%s: runAsNonRoot is not true", [at.label])
}

restricted contains message if {
	some at in pods.contexts
	object.get(at.context, ["runAsUser"], 1) == 0
	message := sprintf("%s: runAsUser is 0", [at.label])
}

restricted contains message if {
	not pods.windows
	some at in pods.contexts
	seccomp(at.context) == "bad"
	message := sprintf("%s: seccompProfile.type is neither RuntimeDefault nor Localhost", [at.label])
}

restricted contains message if {
	not pods.windows
	seccomp(pods.context) != "good"
	some at in pods.containers
	seccomp(at.context) == "unset"
	message := sprintf("%s: seccompProfile is not set, neither here nor for the pod", [at.label])
}

restricted contains message if {
	not pods.windows
	some at in pods.containers
	not "ALL" in object.get(at.context, ["capabilities", "drop"], [])
	message := sprintf("%s: does not drop capability ALL", [at.label])
}

restricted contains message if {
	not pods.windows
	some at in pods.containers
	some added in object.get(at.context, ["capabilities", "add"], [])
	added != "NET_BIND_SERVICE"
	message := sprintf("%s: adds capability %s", [at.label, subject.quoted(added)])
}

# unset stands for an absent field where every value of the field means something.
unset := ["unset"]

shown(value) := "is not set" if value == unset

shown(value) := subject.quoted(value) if value != unset

seccomp(context) := "unset" if object.get(context, ["seccompProfile"], unset) == unset

seccomp(context) := "good" if object.get(context, ["seccompProfile", "type"], "") in {"RuntimeDefault", "Localhost"}

seccomp(context) := "bad" if {
	object.get(context, ["seccompProfile"], unset) != unset
	not object.get(context, ["seccompProfile", "type"], "") in {"RuntimeDefault", "Localhost"}
}

volume_name(i, volume) := sprintf("volume %s", [json.marshal(object.get(volume, ["name"], i))])
