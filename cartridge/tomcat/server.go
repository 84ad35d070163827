package tomcat

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gostratos/stratos/cartridge"
)

// home is where Debian's packages put Tomcat.
const home = "/usr/share/tomcat10"

// allStarted answers 200 if every application has started, else 503.
const allStarted = "/-/tomcat"

// command starts java, through a script that puts the applications in place:
// they are links into the release, whose path only the instance knows.
//
//   - UseSerialGC, TieredStopAtLevel=1, ReservedCodeCacheSize, Xss, Xms: what an
//     application needs that shares a machine; together half of the memory and
//     a third of the time that the first answer takes without them.
//   - UsePerfData: a file in a folder that all users of a machine share.
//   - ExitOnOutOfMemoryError: a runtime that ended is started again, one that
//     is half dead is not.
//   - add-opens: for Tomcat's search for leaks, which warns without them.
func (c config) command() []string {
	return []string{
		"/bin/sh", "{{.Dir}}/start.sh", "{{.Release}}", "java",
		fmt.Sprintf("-Xmx%dm", c.heap), "-Xms16m", "-Xss512k",
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=48m",
		"-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError",
		"--add-opens=java.base/java.lang=ALL-UNNAMED",
		"--add-opens=java.base/java.io=ALL-UNNAMED",
		"--add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED",
		"-Dcatalina.home=" + home,
		"-Dcatalina.base={{.Dir}}",
		"-Djava.io.tmpdir={{.Dir}}/temp",
		"-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager",
		"-Djava.util.logging.config.file={{.Dir}}/conf/logging.properties",
		"-cp", home + "/bin/bootstrap.jar:" + home + "/bin/tomcat-juli.jar",
		"org.apache.catalina.startup.Bootstrap", "start",
	}
}

// files are what makes {{.Dir}} a CATALINA_BASE.
func files(apps []app) []cartridge.File {
	all := []cartridge.File{
		{Path: "start.sh", Content: cartridge.Literal(script(apps))},
		{Path: "conf/server.xml", Content: serverXML},
		{Path: "conf/Catalina/localhost/rewrite.config", Content: rewrite},
		{Path: "conf/context.xml", Content: contextXML},
		{Path: "conf/web.xml", Content: webDefaults()},
		{Path: "conf/catalina.properties", Content: properties},
		{Path: "conf/logging.properties", Content: logging},
	}
	// What answers while an application has not started, or never does: without
	// it Tomcat says 404, like an application that is well.
	seen := map[string]bool{}
	for _, a := range apps {
		if !seen[a.name] {
			all = append(all, cartridge.File{Path: "webapps/" + a.name + "/META-INF/context.xml", Content: unavailable})
		}
		seen[a.name] = true
	}
	return all
}

// script puts the applications where Tomcat finds them, and becomes what its
// arguments say after the release's folder. A former start may have been ended
// while a WAR was being unpacked, and Tomcat would take the part for the whole.
func script(apps []app) string {
	var b strings.Builder
	b.WriteString("set -e\nrelease=$1\nshift\nrm -rf work\n")
	for _, a := range apps {
		to := "webapps/" + a.deployed()
		fmt.Fprintf(&b, "rm -rf %s %s\n", quote(to), quote(to+".war"))
		if a.war {
			to += ".war"
		}
		fmt.Fprintf(&b, "ln -s \"$release\"/%s %s\n", quote(a.file), quote(to))
		if a.old {
			fmt.Fprintf(&b, "echo %s\n", quote("note: WEB-INF/web.xml of "+a.file+" is one of Java EE. If classes of javax.* are not found: "+migrate))
		}
	}
	b.WriteString("exec \"$@\"\n")
	return b.String()
}

// quote makes s one word of sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// webDefaults is what holds for every application: Tomcat's own file without
// its list of 1000 media types, which takes long to read.
func webDefaults() string {
	var b strings.Builder
	types := cartridge.MediaTypes()
	for _, ext := range slices.Sorted(maps.Keys(types)) {
		fmt.Fprintf(&b, "\t<mime-mapping><extension>%s</extension><mime-type>%s</mime-type></mime-mapping>\n", ext, types[ext])
	}
	return strings.Replace(webXMLDefaults, "@types@", b.String(), 1)
}

// In serverXML:
//   - port -1: nothing listens for a word that stops the server.
//   - keepAliveTimeout: longer than a balancer keeps idle connections, so that
//     it is never Tomcat who closes one just as a request arrives on it.
//   - useSendfile: a file that is sent by the kernel does not count as a
//     request in work, and would be cut when the server stops.
//   - RemoteIpValve: only loopback connects, so that the last address in
//     X-Forwarded-For is the one that the balancer added.
const serverXML = `<?xml version="1.0" encoding="UTF-8"?>
<Server port="-1">
	<Service name="Catalina">
		<Connector address="127.0.0.1" port="{{port "http"}}" protocol="org.apache.coyote.http11.Http11NioProtocol"
			maxThreads="100" minSpareThreads="4" maxPostSize="67108864" useSendfile="false"
			keepAliveTimeout="180000" maxKeepAliveRequests="-1"/>
		<Engine name="Catalina" defaultHost="localhost">
			<Host name="localhost" appBase="webapps" autoDeploy="false" unpackWARs="true" failCtxIfServletStartFails="true">
				<Valve className="org.apache.catalina.valves.RemoteIpValve" internalProxies="127\.0\.0\.1|::1|0:0:0:0:0:0:0:1" remoteIpHeader="x-forwarded-for" protocolHeader="x-forwarded-proto"/>
				<Valve className="org.apache.catalina.valves.HealthCheckValve" path="` + allStarted + `"/>
				<Valve className="org.apache.catalina.valves.rewrite.RewriteValve"/>
				<Valve className="org.apache.catalina.valves.ErrorReportValve" showReport="false" showServerInfo="false"/>
			</Host>
		</Engine>
	</Service>
</Server>
`

// rewrite serves no dot files. The pattern has to match the whole path.
const rewrite = `RewriteRule ^.*/\.(?!well-known(?:/|$)).*$ - [F]
`

// In contextXML:
//   - unloadDelay: how long requests in work may take after the signal to
//     stop, in milliseconds; less than the plan's grace.
//   - JarScanner: the application's own libraries are searched for tags and
//     fragments; Tomcat's, which have none, are what makes starting slow.
//   - Manager: sessions are not kept, as the folder is the runtime's.
const contextXML = `<?xml version="1.0" encoding="UTF-8"?>
<Context unloadDelay="25000">
	<JarScanner scanClassPath="false" scanManifest="false"/>
	<Manager pathname=""/>
</Context>
`

const unavailable = `<?xml version="1.0" encoding="UTF-8"?>
<Context containerSciFilter=".*" ignoreAnnotations="true">
	<Valve className="org.apache.catalina.valves.RemoteAddrValve" deny=".*" denyStatus="503"/>
</Context>
`

// In webXMLDefaults, development: a page is compiled when it is first asked
// for, and never looked at again.
const webXMLDefaults = `<?xml version="1.0" encoding="UTF-8"?>
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
	<request-character-encoding>UTF-8</request-character-encoding>
	<response-character-encoding>UTF-8</response-character-encoding>
	<servlet>
		<servlet-name>default</servlet-name>
		<servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class>
		<init-param><param-name>listings</param-name><param-value>false</param-value></init-param>
		<load-on-startup>1</load-on-startup>
	</servlet>
	<servlet>
		<servlet-name>jsp</servlet-name>
		<servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class>
		<init-param><param-name>fork</param-name><param-value>false</param-value></init-param>
		<init-param><param-name>xpoweredBy</param-name><param-value>false</param-value></init-param>
		<init-param><param-name>development</param-name><param-value>false</param-value></init-param>
		<init-param><param-name>compilerSourceVM</param-name><param-value>17</param-value></init-param>
		<init-param><param-name>compilerTargetVM</param-name><param-value>17</param-value></init-param>
		<load-on-startup>3</load-on-startup>
	</servlet>
	<servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
	<servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern><url-pattern>*.jspx</url-pattern></servlet-mapping>
	<session-config><session-timeout>30</session-timeout></session-config>
@types@	<welcome-file-list>
		<welcome-file>index.html</welcome-file>
		<welcome-file>index.htm</welcome-file>
		<welcome-file>index.jsp</welcome-file>
	</welcome-file-list>
</web-app>
`

// In properties, common.loader: nothing but Tomcat itself; what stands in
// package.access only speaks to a security manager, which there is none.
const properties = `common.loader="${catalina.home}/lib","${catalina.home}/lib/*.jar"
server.loader=
shared.loader=
tomcat.util.scan.StandardJarScanFilter.jarsToSkip=
tomcat.util.buf.StringCache.byte.enabled=true
`

// logging: all on stderr, which the agent reads.
const logging = `handlers = java.util.logging.ConsoleHandler
.level = INFO
java.util.logging.ConsoleHandler.level = ALL
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
java.util.logging.ConsoleHandler.encoding = UTF-8
`
