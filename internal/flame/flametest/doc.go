// SPDX-License-Identifier: MPL-2.0

// Package flametest is a fake of the Flame Analytics sessions API, for tests
// and demonstrations. It is to package flame what net/http/httptest is to
// net/http.
//
// [Start] runs a [Server] on a free port of the loopback interface:
//
//	fake, err := flametest.Start(flametest.Config{})
//	if err != nil {
//		t.Fatal(err)
//	}
//	t.Cleanup(fake.Close)
//
//	// The first login gets a 503, the next one succeeds.
//	fake.Script(flametest.OpOpen, flametest.Fault{Status: 503})
//
//	// ... point the client at fake.URL() and log in as User with Password ...
//
//	if n := len(fake.Live()); n != 1 {
//		t.Errorf("%d live tokens, want 1", n)
//	}
//
// [Config] selects how the fake responds where the vendor's documentation is
// silent. [Server.Opened], [Server.Revoked] and [Server.Live] count the sessions
// on the server's side.
//
// # Faults
//
// A [Fault] changes the outcome of a request. [Server.Script] queues faults for single
// requests, in order of arrival. [Server.Always] sets the fault for every
// request after the queue is empty.
//
//   - Status, Body, Drop and Cut replace the response, and the request is not
//     carried out: no session is opened or revoked. With CarryOut it is, so the
//     client loses the response to a request that took effect.
//   - Header, Reason, Stray, Members and Echo alone alter the genuine response.
//   - Hang holds the request until [Server.Release]. The rest of the fault
//     applies after that.
//   - A request with a fault bypasses [Config.RateLimit].
//
// What gateways and faulty servers send needs no field of its own:
//
//   - a 401 that asks for another scheme: Status 401 and a header WWW-Authenticate
//   - a page of HTML, however disguised: Body and a header Content-Type
//   - a body on a 204: Status 204 and Stray
//   - a refused stream: Drop and ResetCode, with [Config].TLS
//
// # Journal
//
// [Server.Journal] returns a [Request] for every request whose body arrived
// completely, in order of arrival.
//
//   - A request is recorded and carried out in one step. After [Server.Await]
//     returns, the counts and the live tokens include the awaited requests,
//     except those that a Fault prevents or holds.
//   - Request.Opened and Request.Ended are set in that step, so the journal tells
//     which request made a token and which ended it. With [Shared], several logins
//     open the same token: the first one made it. What Open, Revoke and RevokeAll
//     do is not in the journal.
//   - Request.Status is set before the response is sent. A client that has a
//     response therefore finds its status in the journal.
//   - The journal holds passwords and tokens. Use nothing but made-up ones.
//
// # Strictness
//
// The fake refuses everything that a real API could refuse: an unknown member,
// a missing Content-Type, an Accept header that excludes JSON, a query on
// /sessions, a login with an Authorization header, a token in a URL. A client
// that passes does not depend on a lenient server.
//
// The fake shares no type, constant or parser with package flame. Otherwise a
// mistake in shared code would be made on both sides, and no test would fail.
//
// # Sources
//
// From the vendor's page on authentication:
//
//   - the base path /api/v1, POST /sessions and DELETE /sessions
//   - the members user and password, both required, sent as JSON
//   - the response members auth_token, id and email
//   - the sample response with "id": and no value, which is not valid JSON
//   - tokens of 20 characters of URL-safe base64
//   - the header Authorization: Token token=…, without quotes
//   - access_token as a required parameter of DELETE, which no sample sends
//
// From the vendor's wider API reference, versions 1 and 2:
//
//   - the base path /v2, user ids as UUIDs, full_name and photo_url
//   - GET /organizations with page and per_page
//   - the statuses 400, 401, 404, 405, 406 and 429, and errors as JSON
//
// The vendor documents none of these, so Config selects them:
//
//   - the status of success
//   - what a login does to the user's earlier token, and DELETE to the user's
//     other tokens: [Config].Kind. "Permanently deletes the authentication token
//     of the user" can be read as [Independent], [Shared], [Superseding] or
//     [Sweeping]
//   - whether the number of a user's tokens is limited: [Config].MaxTokens
//   - whether the answer has an id of the user: [Config].SampleID. The id is the
//     same for each login of a user, and differs between users
//   - whether DELETE needs access_token, and the status if it is missing; the
//     fake takes it from a JSON body
//   - the form of Retry-After, and whether it is sent
//
// The shape of an error is also undocumented. The fake sends {"error": "…"}.
package flametest
