// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// promises says what the provider promises, and which tests hold each promise. A
// test outside this package has its package's name before it.
var promises = []struct {
	about string
	holds []promise
}{
	{"tokens and secrets", []promise{
		{"Every token that Flame hands out is in the state, in use by an ephemeral resource, revoked, or reported to the user.", "TestFaultMatrix TestManySessions session.TestLife"},
		{"No password and no token is printed, logged or written anywhere but where the user has Terraform keep it.", "TestAccNoLeaks_lifecycle TestAccNoLeaks_faults TestAccNoLeaks_action TestFaultMatrix TestLogMasksSecrets TestMaskSecrets flame.TestSecretsPrintRedacted flame.TestEchoedSecretsAreNotKept"},
		{"The scan that says so finds what leaks.", "TestAccNoLeaks_control TestLeakScan flame.TestScanFindsLeaks"},
		{"A request ID from the server is shown only if it repeats no secret.", "TestAccNoLeaks_requestID flame.TestRequestID"},
		{"A token is sent only to the endpoint that issued it.", "TestAccSession_replaced TestAccSession_moveEndpoint flame.TestRedirects"},
	}},
	{"the provider's arguments", []promise{
		{"A provider block can be empty if the environment is set; arguments come first, and an empty variable counts as unset.", "TestProviderEnvironment TestEndpointSources TestCredentialSources"},
		{"A value that cannot be used, such as an empty one, is an error that names the argument.", "TestAccProvider_arguments TestProviderArguments flame.TestParseEndpoint flame.TestParseEndpointErrors"},
		{"Plain http to another machine and unverified TLS are warnings.", "TestProviderWarnings flame.TestEndpointPlaintext"},
		{"request_timeout bounds each request, from connecting to the last byte.", "TestRequestLimits flame.TestTimeouts flame.TestTimeoutDuringDial flame.TestTimeoutDuringTLSHandshake flame.TestEndlessBody"},
		{"max_retries bounds the retries of each request.", "TestRequestLimits TestFaultMatrix flame.TestStatuses"},
		{"requests_per_second limits all requests of the provider together.", "TestRequestsPerSecond flame.TestRequestsPerSecond flame.TestPauseOverridesRequestsPerSecond"},
		{"verify_sessions = false sends no check.", "TestSessionVerification TestImportVerifies"},
		{"ca_certificate adds roots to trust, insecure_skip_verify trusts all, and TLS is 1.2 at least; nothing is sent to a server that is not trusted.", "TestUntrustedCertificate TestTrustedCertificate TestTLSWithTerraform TestAccSession_basic TestSessionAPIs flame.TestTLS flame.TestUnreachable"},
		{"A wrong password is one failed login in a run.", "TestWrongPasswordIsSentOnce flame.TestRefusedLoginIsSentOnce flame.TestFirstLoginGoesAlone"},
		{"What one origin asks for holds back no request to another; a date is by the server's clock.", "TestPauseOfAnotherEndpoint flame.TestPauseIsPerOrigin flame.TestRetryAfterByTheServersClock"},
		{"An origin that is down is learned once in a run.", "flame.TestOutageBegins flame.TestOutageIsLearnedOnce flame.TestOutageEnds flame.TestOutageIsPerOrigin TestNginxIsDown"},
		{"A 503 while other requests succeed hints at the rate.", "TestUnavailableWhileOthersSucceed"},
		{"Requests go through the proxy that the environment names; a variable that cannot be used is an error, and nothing goes around it.", "TestProxyAndUserAgent flame.TestProxy TestProxyDiagnostics flame.TestProxyVariableUnusable flame.TestProxyVariableUnused"},
		{"Missing credentials are an error of the plan, which names the places to set them.", "TestProviderEnvironment TestEphemeralDiagnostics"},
		{"Values that are unknown until apply fail no plan, and are used in the apply.", "TestAccSessionEphemeral_unknown TestProviderArgumentChangesDuringApply TestAccSession_unknown TestSessionVerification TestEphemeralUnknown TestActionRefuses TestUnknownProviderArguments"},
		{"Every argument is held against what the server receives.", "TestArgumentsAreHeld"},
		{"Each attribute is described, and each secret is marked as sensitive.", "TestSchemas"},
	}},
	{"flame_session", []promise{
		{"Create sends one POST, delete one DELETE with the session's own token, and the state has what Flame answered.", "TestAccSession_basic TestSessionAPIs flame.TestSession flame.TestRequests flame.TestParseSession"},
		{"The id is the beginning of the token's SHA-256.", "TestAccSession_basic TestSessionAPIs flame.TestSessionID"},
		{"User and password come from the resource, else from the provider, else from the environment.", "TestCredentialSources TestUserOfTheProvider TestAccSession_credentials flame.TestOpenCredentials"},
		{"An open that fails stores nothing, and the error says why and what to do.", "TestSessionOpenErrors TestFaultMatrix flame.TestOpenWithoutToken"},
		{"A revocation that fails is an error, and the state keeps the session.", "TestSessionRevokeErrors TestFaultMatrix"},
		{"Only Flame itself proves that a token is dead: a 2xx or its own 401. 404 and 410 are checked.", "flame.TestProofOfDeath flame.TestNotFoundIsChecked TestSessionRevokeErrors TestFaultMatrix flame.TestTokenStatuses"},
		{"A page of HTML with a status of success is no success.", "TestSessionOpenErrors TestFaultMatrix"},
		{"Delete sends the token in the body too, but only to an API that asks for it.", "TestAccSession_basic TestSessionAPIs flame.TestAccessTokenWithoutEffect flame.TestAccessTokenIsLearnedPerEndpoint"},
		{"The password is in no plan and no state, and a change of it is no change.", "TestAccSession_password TestAccNoLeaks_lifecycle"},
		{"Arguments that make no sense are errors of validate, which point at the argument unless it holds a secret.", "TestValidationPointsAtArguments TestDiagnosticsPrintNoSecretLine TestWriteOnlyPasswordWithOldTerraform TestSessionArguments"},
		{"A refresh removes a session whose token Flame refuses, with a warning, and the plan opens a new one.", "TestAccSession_disappears TestSessionVerification TestApplyRefreshOnly flame.TestTokenStatuses"},
		{"A session that cannot be checked is kept, with a warning that says how to plan without the check.", "TestSessionVerification TestFaultMatrix"},
		{"Another endpoint replaces the session; another spelling of the same one does not.", "TestAccSession_replaced"},
		{"A plan that needs another provider configuration than there is at apply neither revokes nor sends anything.", "TestPlanAppliedElsewhere TestReplacementNeeds TestCreateWithoutProvider"},
		{"rotate_after replaces the session in the first plan after its age, with a refresh or without.", "TestTimesAreUTC TestPlannedRotateAt TestRotationWithoutRefresh TestPlanWithoutRead TestReplaceTriggeredByRotation TestAccSession_rotateAfter TestRotationIsDecidedByRefresh TestRefreshModes TestRotateDeadSessionWithoutRefresh"},
		{"A change of rotate_when_changed replaces the session; create_before_destroy makes both tokens overlap.", "TestAccSession_replaced TestRotateWhenChangedIsAdded"},
		{"revoke_on_destroy = false leaves the token alive, with a warning.", "TestRevokeOnDestroy TestAccSession_updated TestSessionStaysAlive TestLeftAliveIsReported"},
		{"A session that cannot be revoked can be let go in one apply, which names its token.", "TestLetGo TestLetGoOfLostEndpoint"},
		{"What Terraform forgets is not revoked; what a removed block destroys is.", "TestForget TestDestroyFalse TestRemovedBlockRevokes"},
		{"timeouts bound whole operations, retries and pauses included; closing an ephemeral session has 30 seconds of its own.", "TestTimeLimits TestAccSession_timeouts flame.TestDeadlineBeforeRetryAfter"},
		{"A state or its private data that somebody edited sends no token anywhere.", "TestEditedState"},
		{"A state of an earlier version goes on working.", "TestStateStoredEarlier"},
		{"Many sessions take few connections and little memory.", "TestManySessions TestCallsLeaveNothingBehind flame.TestHTTP2StreamLimit flame.TestThrottleFits"},
		{"With every kind of account, no run ends with a token in the state that it has ended without saying so.", "TestSituations"},
	}},
	{"import", []promise{
		{"A session is imported from an environment variable or a file, by block or command, and is not replaced afterwards.", "TestAccSession_import TestAccSession_importBlocks TestAccSession_importEncodings TestImportCommand TestImportIntoModule TestImportGeneratesConfiguration"},
		{"A bare token as import ID is refused and not repeated.", "TestImportRefusesIDs"},
		{"An import checks the token, unless told not to.", "TestImportVerifies TestFaultMatrix"},
		{"An import needs a known endpoint.", "TestAccSession_importBlocks"},
	}},
	{"move", []promise{
		{"moved blocks take over sessions from other resources that hold the token, without a request.", "TestMove TestAccSession_move TestFindMoveSource TestMoveSourceFind"},
		{"A moved session keeps its user; another configuration replaces it.", "TestAccSession_moveToOtherUser"},
		{"A state without a token is not moved.", "TestMoveWithoutToken"},
		{"A token goes to no host that a foreign state chose: another endpoint, and one that is unknown, refuse the move.", "TestRefreshResolvesMovedEndpoint TestAccSession_moveEndpoint TestMoveEndpointError TestMoveWithUnknownEndpoint"},
	}},
	{"sessions of one user", []promise{
		{"A run with one session of a user sends nothing more; with several it sends two checks at most, and tells of nothing on an independent account.", "session.TestOneSessionCostsNothing session.TestIndependent TestIndependentRotation"},
		{"A token that another session of the run holds is not revoked, and a warning says so.", "TestAccSession_shared TestSessionShared session.TestSharedToken session.TestRelease"},
		{"If one of several sessions with the same token is replaced, tainted or removed, with a refresh or without, the token stays alive or the user is told of the others.", "TestSharedForcedReplacement TestSharedOneOfSeveral TestReplacementLeavesSharedToken"},
		{"A replacement that gets the same token again keeps it alive, and the user is told that nothing was rotated.", "TestAccSession_sharedReplaced TestSharedReplacement session.TestGivenAgain"},
		{"A login that ends another session of the run is told of, and no other login that would is sent.", "TestSupersedingTwoNew TestSupersedingManyNew TestLostAnswerEndsAnother session.TestSuperseding session.TestSupersedingInParallel session.TestLoginDuringCheck"},
		{"An ephemeral login that ends a managed session is an error; if the managed one is checked only later, a warning names both causes.", "TestSupersedingEphemeral TestEphemeralThatEndsAnother"},
		{"A revocation that ends another session of the run is told of, and no other revocation that would is sent.", "TestSweepingRotation TestLostAnswerEndsAnother TestActionSweeps TestEphemeralCloseSweeps session.TestSweeping session.TestRevokedDuringCheckOfOthers"},
		{"A plan that opens a session beside one that it keeps warns, whichever it plans first, unless two live tokens have shown that a login ends none.", "TestNewBesideKept TestPlanWarnsOnce session.TestPlannedBesideEachOther session.TestRefreshShowsIndependence"},
		{"A refresh that finds a token dead names the live session of the same user.", "TestSupersedingTwoNew"},
		{"A session whose user is unknown counts as one of every user of its endpoint.", "session.TestUnknownUser session.TestUnknownUserSurvives TestWhoseSessionIs"},
		{"An ephemeral session does not take the token of a managed one, and the last of several ends it.", "TestEphemeralSharesWithManaged TestEphemeralShareOneToken"},
		{"While a session of an account is opened, none of it is revoked.", "TestBusyAccount session.TestOpenAndRevokeDoNotOverlap session.TestExcludes session.TestAccountLocks"},
	}},
	{"ephemeral flame_session", []promise{
		{"It opens a session with one POST and ends it with one DELETE when the run no longer needs it.", "TestAccSessionEphemeral_basic"},
		{"Its token and password may go into provider blocks, write-only arguments and other sessions, and are never stored.", "TestEphemeralIntoOtherProviders TestEphemeralIsNotStored TestAccNoLeaks_lifecycle"},
		{"With open = terraform.applying, a plan opens nothing.", "TestEphemeralOpen"},
		{"revoke_on_close = false keeps the token alive.", "TestAccSessionEphemeral_basic"},
		{"A run that fails or is interrupted revokes it all the same.", "TestEphemeralInFailingApply TestEphemeralInterrupted session.TestClose"},
		{"An open that fails leaves nothing behind and says why; a lost answer is reported.", "TestEphemeralDiagnostics TestFaultMatrix"},
		{"A close that fails is a warning that names the session.", "TestEphemeralCloseFails TestFaultMatrix"},
		{"A session that Flame calls dead is closed.", "TestEphemeralDiagnostics"},
	}},
	{"action flame_session_revoke", []promise{
		{"It revokes the token it is given and no other, and reports progress.", "TestActionInvoked TestAccSessionRevoke_afterCreate TestAccSessionRevoke_aroundDestroy"},
		{"A token that was dead already is a success, and said so.", "TestActionInvoke TestFaultMatrix"},
		{"A revocation that fails is an error.", "TestActionInvoke TestFaultMatrix"},
		{"What cannot be a token is refused and not sent.", "TestActionRefuses flame.TestInvalidTokenIsNotSent"},
	}},
	{"function authorization_header", []promise{
		{"It returns the Authorization header of a token, known or unknown, and keeps it sensitive.", "TestFunctionResult TestAccAuthorizationHeader_basic TestFunctionOutput TestFunctionInConsole flame.TestAuthorizationHeader"},
		{"What could break out of a header is an error that does not repeat it.", "TestFunctionRefuses flame.TestTokenValidate flame.TestFitsHeader"},
	}},
	{"retries", []promise{
		{"Transient failures are retried with exponential backoff and full jitter; refusals are not.", "TestFaultMatrix flame.TestStatuses flame.TestBackoffIsFullJitter flame.TestBackoffBetweenAttempts"},
		{"429 is retried until the timeout and does not count against max_retries.", "TestFaultMatrix flame.TestTooManyRequestsDoesNotCountAsRetry"},
		{"Retry-After holds back all requests, and an operation with less time than that ends at once.", "TestFaultMatrix flame.TestRetryAfter flame.TestRetryAfterDelaysRetry flame.TestRetryAfterPausesAllCalls flame.TestPauseOutlivesItsCall flame.TestShorterPauseDoesNotEndLongerOne flame.TestWaitIgnoresBackoff"},
		{"A rate limit that Flame does not publish is found, with hardly more requests than sessions.", "TestLoad flame.TestThrottleFits flame.TestThrottleRecovers flame.TestThrottleIgnoresOneRequest"},
		{"Whatever the outcome, the user is told if Flame may have opened a session whose token never arrived.", "TestFaultMatrix flame.TestLostOpen flame.TestResponseIsNotHTTP flame.TestTimeoutThenSuccess"},
		{"What a proxy refuses is the proxy's: not a wrong password, not a lost answer, and 401, 403 and 407 are not retried.", "TestProxyDiagnostics TestProxyRefusalKeepsSession flame.TestProxyRefusesConnect flame.TestProxyAuthenticationOverPlainHTTP flame.TestProxyFails flame.TestProxyRecovers"},
		{"What fails on the way to the proxy is not blamed on the endpoint, nor the other way round.", "TestProxyDiagnostics flame.TestProxyTLS flame.TestProxyIsNotBlamed flame.TestProxyIsSilent"},
		{"A request that was never sent is retried, and lost nothing.", "TestFaultMatrix flame.TestUnreachable flame.TestUnknownHost flame.TestStaleConnection"},
		{"One attempt is one request on the wire, and 101 is a refused status.", "flame.TestResetStreamIsNotRepeated flame.TestServerGoesAway flame.TestStaleConnectionIsNotRepeated flame.TestSwitchingProtocolsIsRefused"},
		{"Redirects are not followed, and only scheme and host of the target are named.", "TestFaultMatrix flame.TestRedirects"},
		{"Responses are read up to 1 MiB.", "flame.TestLargeBody flame.TestEndlessBody"},
		{"A token that cannot be kept is revoked, even if the run was cancelled.", "TestFaultMatrix flame.TestUnusableToken flame.TestCancelDoesNotStopCleanUp"},
	}},
	{"interrupts", []promise{
		{"SIGTERM and SIGHUP are left to Terraform; if it dies, the provider revokes what was being opened.", "TestTerminatedRun TestHungUpRun TestKilled TestEphemeralOrphaned"},
		{"A POST on the wire is not aborted, and its token gets into the state.", "TestInterruptedRequest TestInterruptedRun flame.TestCancelAfterOpenWasSent flame.TestCancelDuringResponseToOpen flame.TestCancelledOpenReturnsItsToken"},
		{"Waits, retries and other requests end at once.", "TestInterruptedRequest TestCallsEndWithTheirCaller flame.TestCancelDuringWait flame.TestCancelDuringDial flame.TestCancelAbortsOtherRequests flame.TestCancelAbortsCheckAndRevoke"},
		{"After a destroy that was interrupted or killed, the state still has every session that may be alive.", "TestInterruptedRun TestKilled"},
		{"After a second interrupt, the provider revokes what it was opening, if the answer comes in time.", "TestFinishRevokesOpens TestInterruptedRequest"},
		{"If Terraform is killed, the provider revokes what it was opening and its ephemeral sessions, in less than two seconds; what Terraform had received and not written is lost.", "TestKilled TestKilledWithRemoteState TestEphemeralOrphaned TestExitIsInTime"},
	}},
	{"what people read", []promise{
		{"A diagnostic says what was tried, the status with its meaning, the request ID, and what to do.", "TestFaultMatrix TestSessionOpenErrors flame.TestErrorText flame.TestStatusMeaning flame.TestTransportReason"},
		{"A warning about a session has its id in the summary, so that Terraform does not fold it.", "TestWarningsAreNotFolded"},
		{"A body never reaches a log, through no logger.", "TestStrayBytesAreNotLogged"},
		{"Logs have every request, with method, host, path, status, duration, attempt and IDs, and nothing is logged unless asked for.", "TestLogHasEveryRequest TestFaultMatrix TestServerLogs TestLoggingRequested flame.TestObserve"},
		{"User-Agent names Terraform and the provider, and ends in TF_APPEND_USER_AGENT.", "TestUserAgent TestProxyAndUserAgent"},
		{"Each example works as it stands.", "TestExamples TestExamplesOfTests TestExamplesOfImport TestExamplesAreFormatted"},
		{"The quick starts run as pasted, from top to bottom.", "TestQuickStart"},
		{"The documentation names the versions that are tested.", "TestDocumentedMinimum TestDocumentedCapabilities"},
		{"The binary, started by hand, says what it is; with -debug, how to reach it.", "main.TestStartedByHand main.TestDebug"},
	}},
	{"anybody's own account, with make test-live", []promise{
		{"The suite passes with each kind of account, on the fake over HTTP and on Rails, and leaves no session alive.", "live.TestSuiteOnFake live.TestSuiteOnRails"},
		{"It closes its sessions after a failure, an interrupt and a kill, and sends nothing before a yes.", "live.TestSuiteSweepsAfterFailure live.TestSuiteInterrupted live.TestSuiteSweepsAfterKill live.TestSuiteAsksFirst"},
		{"The probe tells the kinds apart, and prints no secret.", "main.TestModes main.TestEcho"},
	}},
	{"real servers, with make test-servers", []promise{
		{"A session lives on Rails and behind squid as it does with the fake, and a dead token is known by Rails' own 401.", "TestRailsLife TestRailsTokenEndedElsewhere TestSquidPassesThrough"},
		{"Nothing that nginx answers in its own name proves a token dead.", "TestNginxProvesNothing"},
		{"nginx gets one request per attempt, over HTTP/1 and HTTP/2.", "flame.TestNginxGetsOneRequestPerAttempt"},
		{"Each session that a gateway, a closed connection or a failure after the commit loses is counted.", "flame.TestNginxLosesLogins flame.TestNginxClosesConnections TestNginxLosesLogins TestRailsFailsAfterCommit TestRailsCutsTokens"},
		{"No body reaches a log.", "TestNginxLogsNoBodies TestRailsLogsNoStrayBytes"},
	}},
}

type promise struct{ text, tests string }

// TestPromises fails if a promise names a test that does not exist, or an
// acceptance test of this package holds no promise.
func TestPromises(t *testing.T) {
	exists := testsOfModule(t)
	named := map[string]bool{}
	for _, section := range promises {
		for _, p := range section.holds {
			tests := strings.Fields(p.tests)
			if len(tests) == 0 {
				t.Errorf("no test holds %q", p.text)
			}
			for _, name := range tests {
				named[name] = true
				if !slices.Contains(exists, name) {
					t.Errorf("there is no test %s, which is to hold %q", name, p.text)
				}
			}
		}
	}
	for _, name := range exists {
		if strings.HasPrefix(name, "TestAcc") && !named[name] {
			t.Errorf("%s holds no promise: name it in the list above", name)
		}
	}
}

// testsOfModule returns the tests of the module, as promises name them.
func testsOfModule(t *testing.T) (names []string) {
	t.Helper()
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir // another module, or none
			}
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		prefix := strings.TrimSuffix(file.Name.Name, "_test") + "."
		if prefix == "provider." {
			prefix = ""
		}
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				names = append(names, prefix+f.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
