// SPDX-License-Identifier: Apache-2.0

// Testbed brings up a Kubernetes control plane for tests and demonstrations, without root and without a container.
//
//	testbed build [SET …]      builds programs, once, and prints the folder of each set; without a name all of them
//	testbed up                 runs a control plane until it is interrupted
//	testbed exec -- program …  runs a program against a control plane that lives as long as the program
//	testbed order              has a running control plane lose its API server, or compact etcd
//
// It refuses to be a cluster: nothing is kept, and pods run no container. What each command takes is told by
// `testbed <command> -h`; how to use it from Go tests is told in internal/kubetest.
package main
