package stratos_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge/mysql"
	"github.com/gostratos/stratos/cartridge/tomcat"
	"github.com/gostratos/stratos/tenant"
	"github.com/gostratos/stratos/topology"
)

// guestBook is a page with JSP and JDBC: whoever comes is written down.
const guestBook = `<%@ page import="java.net.URI, java.sql.*" %><%
URI u = new URI(System.getenv("DATABASE_URL"));
String[] who = u.getUserInfo().split(":");
Class.forName("org.mariadb.jdbc.Driver");
try (Connection c = DriverManager.getConnection("jdbc:mariadb://" + u.getHost() + ":" + u.getPort() + u.getPath(), who[0], who[1]);
		Statement s = c.createStatement()) {
	if (request.getParameter("name") != null) {
		try (PreparedStatement p = c.prepareStatement("INSERT INTO guests (name) VALUES (?)")) {
			p.setString(1, request.getParameter("name"));
			p.executeUpdate();
		}
	}
	try (ResultSet r = s.executeQuery("SELECT name FROM guests ORDER BY id")) {
		while (r.next()) out.print(r.getString(1) + ";");
	}
}
%>`

// TestGuestBook: one repository feeds a tomcat with its webapps, and a database
// with its sql.
func TestGuestBook(t *testing.T) {
	b := newBed(t, func(c *stratos.Config) {
		c.Cartridges = append(c.Cartridges, tomcat.Type{}, mysql.Type{})
		first := freePort(t)
		c.ServicePorts = stratos.PortRange{First: first, Last: first}
	})
	driver, err := os.ReadFile("/usr/share/java/mariadb-java-client.jar")
	require.NoError(t, err, "apt-get install libmariadb-java")
	s := newSite(t, "x")
	s.git("rm", "-q", "-r", ".")
	s.write("webapps/ROOT/index.jsp", guestBook)
	s.write("webapps/ROOT/WEB-INF/web.xml", "<web-app/>\n")
	s.write("webapps/ROOT/WEB-INF/lib/driver.jar", string(driver))
	s.write("sql/1.sql", "CREATE DATABASE IF NOT EXISTS app;\nCREATE TABLE IF NOT EXISTS app.guests (id INT AUTO_INCREMENT PRIMARY KEY, name TEXT);\n")
	s.write("sql/2.sql", "INSERT INTO app.guests (name) VALUES ('the first');\n")
	s.commitAll()
	repository := tenant.Repository{URL: artifact.Dir(s.dir)}
	require.NoError(t, b.Subscribe(b.ctx, tenant.Subscription{Alias: "db", Cartridge: "mysql", Repository: repository}))
	require.NoError(t, b.Subscribe(b.ctx, tenant.Subscription{Alias: app, Cartridge: "tomcat", Repository: repository}))
	require.NoError(t, b.Connect(b.ctx, tenant.Default, app, "db"))
	b.await("it serves with its database", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 1 })
	require.Equal(t, "the first;", strings.TrimSpace(b.page("/")))
	require.Equal(t, "the first;Ann O'Neil;", strings.TrimSpace(b.page("/?name=Ann+O%27Neil")))

	// SQL that fails refuses the release of the database, whose member goes back.
	before := b.awaitOf(databaseCluster, "it serves", func(c *topology.ClusterView) bool { return c.Count(topology.Active) == 1 }).Members()[0]
	s.write("sql/3.sql", "INSERT INTO app.guests (nam) VALUES ('x');\n")
	s.commitAll()
	require.NoError(t, b.Synchronise(b.ctx, tenant.Default, "db"))
	b.awaitOf(databaseCluster, "it is refused with its line", func(c *topology.ClusterView) bool {
		r := c.Cluster.Refused
		return r != nil && strings.Contains(r.Log, "3.sql:") && strings.Contains(r.Log, "at line 1")
	})
	b.awaitOf(databaseCluster, "the member serves the former release again", func(c *topology.ClusterView) bool {
		m := c.Members()[0]
		require.Equal(t, before.ID, m.ID, "it was replaced")
		return m.State == topology.Active && m.Serving.Release == *before.Assigned && m.Bound == c.Cluster.Bindings
	})
	require.Eventually(t, func() bool {
		code, body, err := b.get("/")
		return err == nil && code == http.StatusOK && strings.TrimSpace(body) == "the first;Ann O'Neil;"
	}, patience, 10*time.Millisecond)
}
