// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// sessionModel is flame_session in configuration, plan and state.
type sessionModel struct {
	User              types.String
	Password          types.String
	RotateAfter       timetypes.GoDuration
	RotateWhenChanged types.Map
	RevokeOnDestroy   types.Bool
	Timeouts          timeouts.Value
	ID                types.String
	AuthToken         types.String
	UserID            types.String
	Email             types.String
	FullName          types.String
	Endpoint          types.String
	CreatedAt         timetypes.RFC3339
	RotateAt          timetypes.RFC3339

	attributes map[string]attr.Type // of the schema
}

// read reads a configuration, plan or state, via an object: filling a struct, the
// framework compiles a regular expression per field and call (see its
// internal/reflect/helpers.go), which took a third of the provider's time.
func (m *sessionModel) read(ctx context.Context, from interface {
	Get(ctx context.Context, target any) diag.Diagnostics
},
) diag.Diagnostics {
	var object types.Object
	diags := from.Get(ctx, &object)
	if diags.HasError() {
		return diags
	}
	m.attributes = object.AttributeTypes(ctx)
	values := object.Attributes()
	read := take(&m.User, values["user"]) &&
		take(&m.Password, values["password"]) &&
		take(&m.RotateAfter, values["rotate_after"]) &&
		take(&m.RotateWhenChanged, values["rotate_when_changed"]) &&
		take(&m.RevokeOnDestroy, values["revoke_on_destroy"]) &&
		take(&m.Timeouts, values["timeouts"]) &&
		take(&m.ID, values["id"]) &&
		take(&m.AuthToken, values["auth_token"]) &&
		take(&m.UserID, values["user_id"]) &&
		take(&m.Email, values["email"]) &&
		take(&m.FullName, values["full_name"]) &&
		take(&m.Endpoint, values["endpoint"]) &&
		take(&m.CreatedAt, values["created_at"]) &&
		take(&m.RotateAt, values["rotate_at"])
	if !read {
		diags.AddError("The schema does not fit", "An attribute of flame_session does not have the type that the provider expects. "+reportDefect)
	}
	return diags
}

func take[T attr.Value](to *T, value attr.Value) (ok bool) {
	*to, ok = value.(T)
	return ok
}

// write writes what was read, and changed since, to a plan or state.
func (m *sessionModel) write(ctx context.Context, to interface {
	Set(ctx context.Context, value any) diag.Diagnostics
},
) diag.Diagnostics {
	object, diags := m.object()
	if diags.HasError() {
		return diags
	}
	return to.Set(ctx, object)
}

func (m *sessionModel) object() (types.Object, diag.Diagnostics) {
	return types.ObjectValue(m.attributes, map[string]attr.Value{
		"user":                m.User,
		"password":            m.Password,
		"rotate_after":        m.RotateAfter,
		"rotate_when_changed": m.RotateWhenChanged,
		"revoke_on_destroy":   m.RevokeOnDestroy,
		"timeouts":            m.Timeouts,
		"id":                  m.ID,
		"auth_token":          m.AuthToken,
		"user_id":             m.UserID,
		"email":               m.Email,
		"full_name":           m.FullName,
		"endpoint":            m.Endpoint,
		"created_at":          m.CreatedAt,
		"rotate_at":           m.RotateAt,
	})
}

// equal reports whether two models have the same values.
func (m *sessionModel) equal(other sessionModel, diags *diag.Diagnostics) bool {
	object, moreDiags := m.object()
	diags.Append(moreDiags...)
	otherObject, moreDiags := other.object()
	diags.Append(moreDiags...)
	return object.Equal(otherObject)
}

// setFromAPI sets what Flame responded when the session was opened.
func (m *sessionModel) setFromAPI(s flame.Session, endpoint flame.Endpoint, openedAt time.Time) diag.Diagnostics {
	m.AuthToken = types.StringValue(s.Token.Reveal())
	m.ID = types.StringValue(s.Token.SessionID())
	m.Endpoint = types.StringValue(endpoint.String())
	m.UserID = textOrNull(s.UserID)
	m.Email = textOrNull(s.Email)
	m.FullName = textOrNull(s.FullName)
	m.CreatedAt = timestamp(openedAt)
	return m.setRotateAt()
}

// setRotateAt computes rotate_at: null without rotate_after, unknown while that is
// unknown.
func (m *sessionModel) setRotateAt() diag.Diagnostics {
	switch {
	case m.RotateAfter.IsNull():
		m.RotateAt = timetypes.NewRFC3339Null()
		return nil
	case m.RotateAfter.IsUnknown(), m.CreatedAt.IsUnknown(), m.CreatedAt.IsNull():
		m.RotateAt = timetypes.NewRFC3339Unknown()
		return nil
	}
	created, diags := m.CreatedAt.ValueRFC3339Time()
	after, moreDiags := m.RotateAfter.ValueGoDuration()
	diags.Append(moreDiags...)
	m.RotateAt = timestamp(created.Add(after))
	return diags
}

// rotationDue reports whether rotate_at has come.
func (m *sessionModel) rotationDue(now time.Time) (bool, diag.Diagnostics) {
	if m.RotateAt.IsNull() || m.RotateAt.IsUnknown() {
		return false, nil
	}
	at, diags := m.RotateAt.ValueRFC3339Time()
	return !diags.HasError() && !now.Before(at), diags
}

// revokes reports whether destroying the session revokes its token.
func (m *sessionModel) revokes() bool {
	return m.RevokeOnDestroy.IsNull() || m.RevokeOnDestroy.ValueBool()
}

// held returns the session's token and who holds it. It fails if the endpoint is
// not usable.
func (m *sessionModel) held(instance session.InstanceID) (session.Held, error) {
	endpoint, err := flame.ParseEndpoint(m.Endpoint.ValueString())
	return session.Held{
		Instance: instance,
		Account:  session.Account{Endpoint: endpoint, User: m.User.ValueString(), UserID: m.UserID.ValueString()},
		Token:    flame.NewToken(m.AuthToken.ValueString()),
	}, err
}

// textOrNull returns null for "", which stands for what Flame did not say.
func textOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

// timestamp returns a time in UTC, to the second: people read it.
func timestamp(t time.Time) timetypes.RFC3339 {
	return timetypes.NewRFC3339TimeValue(t.UTC().Truncate(time.Second))
}

// withTimeout returns a context that ends after the timeout that is configured for
// an operation, or else after a default. The caller must call cancel.
func withTimeout(ctx context.Context, configured func(context.Context, time.Duration) (time.Duration, diag.Diagnostics), byDefault time.Duration, diags *diag.Diagnostics) (_ context.Context, cancel context.CancelFunc) {
	timeout, moreDiags := configured(ctx, byDefault)
	diags.Append(moreDiags...)
	return context.WithTimeout(ctx, timeout)
}
