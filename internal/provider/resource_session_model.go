package provider

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// sessionModel is flame_session in configuration, plan and state.
type sessionModel struct {
	User              types.String         `tfsdk:"user"`
	Password          types.String         `tfsdk:"password"`
	PasswordWO        types.String         `tfsdk:"password_wo"`
	PasswordWOVersion types.Int64          `tfsdk:"password_wo_version"`
	RotateAfter       timetypes.GoDuration `tfsdk:"rotate_after"`
	RotateWhenChanged types.Map            `tfsdk:"rotate_when_changed"`
	RevokeOnDestroy   types.Bool           `tfsdk:"revoke_on_destroy"`
	Timeouts          timeouts.Value       `tfsdk:"timeouts"`
	ID                types.String         `tfsdk:"id"`
	AuthToken         types.String         `tfsdk:"auth_token"`
	UserID            types.String         `tfsdk:"user_id"`
	Email             types.String         `tfsdk:"email"`
	FullName          types.String         `tfsdk:"full_name"`
	Endpoint          types.String         `tfsdk:"endpoint"`
	CreatedAt         timetypes.RFC3339    `tfsdk:"created_at"`
	RotateAt          timetypes.RFC3339    `tfsdk:"rotate_at"`
}

// fill takes over what Flame answered when the session was opened at a time.
func (m *sessionModel) fill(s flame.Session, opened time.Time) diag.Diagnostics {
	m.AuthToken = types.StringValue(s.Token)
	m.ID = types.StringValue(flame.SessionID(s.Token))
	m.UserID = textOrNull(s.UserID)
	m.Email = textOrNull(s.Email)
	m.FullName = textOrNull(s.FullName)
	m.CreatedAt = timestamp(opened)
	return m.setRotateAt()
}

// setRotateAt computes when the session is due to be replaced: null without
// rotate_after, unknown while that is unknown.
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

// due reports whether the session is to be replaced at a time.
func (m *sessionModel) due(now time.Time) (bool, diag.Diagnostics) {
	if m.RotateAt.IsNull() || m.RotateAt.IsUnknown() {
		return false, nil
	}
	at, diags := m.RotateAt.ValueRFC3339Time()
	return !diags.HasError() && !now.Before(at), diags
}

// heldToken gives the session's token and where it belongs.
func (m *sessionModel) heldToken() heldToken {
	return heldToken{m.Endpoint.ValueString(), m.AuthToken.ValueString()}
}

// account gives whose session it is.
func (m *sessionModel) account() account {
	return account{m.Endpoint.ValueString(), m.User.ValueString()}
}

// textOrNull gives null for what Flame did not answer.
func textOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

// timestamp gives a time in UTC, to the second: an RFC 3339 text that people read.
func timestamp(t time.Time) timetypes.RFC3339 {
	return timetypes.NewRFC3339TimeValue(t.UTC().Truncate(time.Second))
}

// within gives a context that ends when the operation's time limit does.
func within(ctx context.Context, limit func(context.Context, time.Duration) (time.Duration, diag.Diagnostics), preset time.Duration, diags *diag.Diagnostics) (context.Context, context.CancelFunc) {
	d, moreDiags := limit(ctx, preset)
	diags.Append(moreDiags...)
	return context.WithTimeout(ctx, d)
}
