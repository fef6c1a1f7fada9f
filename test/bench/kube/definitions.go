// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// InstallDefinitions creates the CustomResourceDefinitions in the YAML files of folders, and waits until they serve.
func (c *Client) InstallDefinitions(ctx context.Context, folders []string) error {
	var names []string
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no definitions in %q", folder)
		}
		for _, file := range files {
			added, err := c.installFile(ctx, file)
			if err != nil {
				return fmt.Errorf("definitions in %q: %w", file, err)
			}
			names = append(names, added...)
		}
	}
	for _, name := range names {
		if err := c.established(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) installFile(ctx context.Context, file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var names []string
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var o Object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return names, nil
		} else if err != nil {
			return nil, err
		}
		if o["kind"] != "CustomResourceDefinition" {
			continue
		}
		if err := c.Create(ctx, o); err != nil {
			return nil, err
		}
		metadata, _ := o["metadata"].(Object)
		name, _ := metadata["name"].(string)
		names = append(names, name)
	}
}

// established polls: it is set-up, which nobody measures.
func (c *Client) established(ctx context.Context, name string) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		body, err := c.Do(ctx, http.MethodGet, definitionsPath+"/"+name, "", nil)
		if err != nil {
			return err
		}
		var definition struct{ Status Status }
		if err := json.Unmarshal(body, &definition); err != nil {
			return err
		}
		if definition.Status.condition("Established").Status == "True" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("definition %q does not serve: %w", name, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
