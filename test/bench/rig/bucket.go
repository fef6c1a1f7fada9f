// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// ServeBucket serves the folders below a folder as buckets that anybody may read, by the API of S3, and returns its host.
func (r *Rig) ServeBucket(ctx context.Context, root string) (string, error) {
	return r.serve(ctx, bucket, ServeBucketCommand, root)
}

// listing is the answer to ListObjectsV2.
type listing struct {
	XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name     string
	KeyCount int
	Contents []listed
}

type listed struct {
	Key          string
	ETag         string
	Size         int64
	LastModified string
}

// buckets answers what readers of a bucket ask: whether it is there, where, what is in it, and for its objects.
func buckets(root string) http.Handler {
	files := tagged(root)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name, key, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
		switch {
		case key != "":
			files.ServeHTTP(w, req)
		case req.Method == http.MethodHead:
		case req.URL.Query().Has("location"):
			_, _ = fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
		default:
			answer, err := list(filepath.Join(root, filepath.Base(name)))
			if err != nil {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "application/xml")
			_ = xml.NewEncoder(w).Encode(answer) // who asked has gone
		}
	})
}

// list describes the files of a folder, in the order of their names.
func list(folder string) (listing, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return listing{}, err
	}
	out := listing{Name: filepath.Base(folder), KeyCount: len(entries)}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return listing{}, err
		}
		out.Contents = append(out.Contents, listed{
			Key: e.Name(), ETag: etag(info), Size: info.Size(), LastModified: info.ModTime().UTC().Format("2006-01-02T15:04:05.000Z"),
		})
	}
	return out, nil
}
