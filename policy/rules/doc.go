// SPDX-License-Identifier: Apache-2.0

// Package rules is the built-in policy library: one Rego file per rule below rego/, embedded here and evaluated by
// policy/engine. Go code in this package does nothing but hand the files out.
//
// A rule is the package sluice.rules["sluice-N"]. Its METADATA block says what the engine and the documents need: title,
// description and, below custom, id, severity, stages (spec, render), binds (tenants, or everyone: platform namespaces
// too), kinds ("Pod", "apps/Deployment", or "*"), controls, remediation and since. It defines one set named deny whose
// members are messages. A message names what inside the object is wrong: the engine adds rule, object and remedy.
//
// What a rule reads: input.object, the object under judgement; input.role, "author" for the Flux object that asks or
// "member" for an object of its rendered set; input.stage; input.platform; input.tenant, the author's namespace;
// input.namespaced for members; input.platformNamespaces; and for authors input.identity and input.source.
// data.parameters is the parameters file. A rule for all kinds ("*") sees of the object no more than its apiVersion, kind,
// name and namespace, unless another rule names the kind. Values of Secrets are never in the input.
//
// What the files may not do: call a built-in function off the engine's allow-list, read a clock, or swallow an error. A
// built-in that fails denies.
//
// The vectors that every rule must pass stand in vectors/, next to the rules and not in the binary; policy/engine runs
// them.
package rules
