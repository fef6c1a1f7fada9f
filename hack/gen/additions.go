// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
)

// addition is what Sluice has in a definition beside what is Flux's. Each is a deviation in docs/compatibility.md, and only ever
// accepts more: every manifest that Flux takes stays valid.
type addition struct {
	file     string
	old, new string
}

func additions() []addition {
	const provider = "                  provider:\n                    default: cosign\n" +
		"                    description: Provider specifies the technology used to sign the\n                      OCI Artifact.\n" +
		"                    enum:\n                    - cosign\n                    - notation\n"
	return []addition{{
		file: "source.toolkit.fluxcd.io_helmcharts.yaml", old: provider,
		new: "                  provider:\n                    default: cosign\n" +
			"                    description: |-\n                      Provider specifies the technology used to sign the OCI Artifact.\n" +
			"                      Sluice's helm-provenance means the chart's provenance file (.prov),\n" +
			"                      of an OCI registry or of a repository with an index.\n" +
			"                    enum:\n                    - cosign\n                    - notation\n                    - helm-provenance\n",
	}}
}

// add puts the additions into definitions. One that has no place any more is an error: Flux has changed what it adds to.
func add(definitions map[string][]byte, all []addition) error {
	for _, a := range all {
		body := definitions[a.file]
		if bytes.Count(body, []byte(a.old)) != 1 {
			return fmt.Errorf("%s: what an addition replaces is not there exactly once, look at additions in hack/gen", a.file)
		}
		definitions[a.file] = bytes.Replace(body, []byte(a.old), []byte(a.new), 1)
	}
	return nil
}
