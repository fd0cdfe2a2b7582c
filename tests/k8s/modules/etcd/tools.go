//go:build tools

// Where the API server keeps its objects.
package tools

import _ "go.etcd.io/etcd/server/v3"
