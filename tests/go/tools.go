//go:build tools

// The Go programs of the tests (see .ci/go-tools): what go.mod and go.sum pin, and nothing else.
package tools

import (
	_ "github.com/summerwind/h2spec/cmd/h2spec"
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/server"
)
