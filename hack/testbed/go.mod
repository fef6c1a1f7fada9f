module sluice.dev/sluice/hack/testbed

go 1.26.0
