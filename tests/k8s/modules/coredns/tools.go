//go:build tools

// Names of Services.
package tools

import _ "github.com/coredns/coredns"
