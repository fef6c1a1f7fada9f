# SPDX-License-Identifier: Apache-2.0

# METADATA
# title: Reading pod templates
package sluice.pods

template_paths := {
	"Pod": [],
	"PodTemplate": ["template"],
	"ReplicationController": ["spec", "template"],
	"Deployment": ["spec", "template"],
	"StatefulSet": ["spec", "template"],
	"DaemonSet": ["spec", "template"],
	"ReplicaSet": ["spec", "template"],
	"Job": ["spec", "template"],
	"CronJob": ["spec", "jobTemplate", "spec", "template"],
}

template := object.get(input.object, template_paths[input.object.kind], {})

spec := object.get(template, ["spec"], {})

context := object.get(spec, ["securityContext"], {})

annotations := object.get(template, ["metadata", "annotations"], {})

names := {
	"containers": "container",
	"initContainers": "init container",
	"ephemeralContainers": "ephemeral container",
}

# containers lists the containers of every sort, with the name that a message uses. Where a container has no name its
# position stands for it.
containers := [{"label": label, "container": container, "context": context_} |
	some field, noun in names
	some i, container in object.get(spec, [field], [])
	label := sprintf("%s %s", [noun, json.marshal(object.get(container, ["name"], i))])
	context_ := object.get(container, ["securityContext"], {})
]

# contexts lists the security contexts of the pod and of its containers.
contexts := array.concat([{"label": "pod", "context": context}], containers)

windows if spec.os.name == "windows"
