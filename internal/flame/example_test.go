// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func Example() {
	fake, err := flametest.Start(flametest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	endpoint, err := flame.ParseEndpoint(fake.URL())
	if err != nil {
		log.Fatal(err)
	}
	client := flame.New(flame.Config{UserAgent: "example/1.0"})
	defer client.CloseIdleConnections()

	ctx := context.Background()
	session, err := client.Open(ctx, endpoint, flame.Credentials{User: flametest.User, Password: flame.NewPassword(flametest.Password)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("The token prints as", session.Token)
	alive, err := client.Check(ctx, endpoint, session.Token)
	fmt.Println("Alive:", alive, err)
	alreadyGone, err := client.Revoke(ctx, endpoint, session.Token)
	fmt.Println("Already gone:", alreadyGone, err)
	alreadyGone, err = client.Revoke(ctx, endpoint, session.Token)
	fmt.Println("Already gone:", alreadyGone, err)
	// Output:
	// The token prints as REDACTED
	// Alive: true <nil>
	// Already gone: false <nil>
	// Already gone: true <nil>
}

func ExampleError() {
	fake, err := flametest.Start(flametest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	endpoint, err := flame.ParseEndpoint(fake.URL())
	if err != nil {
		log.Fatal(err)
	}
	client := flame.New(flame.Config{})
	defer client.CloseIdleConnections()

	_, err = client.Open(context.Background(), endpoint, flame.Credentials{User: flametest.User, Password: flame.NewPassword("wrong")})
	var apiErr *flame.Error
	if errors.Is(err, flame.ErrUnauthorized) && errors.As(err, &apiErr) {
		fmt.Println(apiErr.Op.Method(), flame.StatusMeaning(apiErr.Status))
	}
	// Output: POST 401 (wrong credentials or no session)
}

func ExampleEndpoint() {
	for _, text := range []string{"HTTPS://Flame.example:443/api/v1/", "https://flame.example/api/v1"} {
		endpoint, err := flame.ParseEndpoint(text)
		fmt.Println(endpoint, err)
	}
	_, err := flame.ParseEndpoint("https://ada:secret@flame.example")
	fmt.Println(err)
	// Output:
	// https://flame.example/api/v1 <nil>
	// https://flame.example/api/v1 <nil>
	// it holds a user name or password before the host name; set user and password instead
}
