// Command etcd is etcd as its own module builds it: the contract tests' kube-apiserver keeps its objects there.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
